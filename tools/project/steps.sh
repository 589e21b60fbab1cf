# Sourced by the run.sh of a project, in its folder: runs steps, each once.

mkdir -p work
# glibc keeps the memory of feature maps: a tenth of a training step on a CPU.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=8000000000
# Lines worth seeing; all others are in work/NAME.log.
SHOWN='Iter\((train|val|test)\)|Search \[|Generation [0-9]|^error|^\$ '
TOTAL=$(awk '{ sum += $2 } END { print sum }' <<< "$STEPS")
DONE=0

# After kill -9 of run.sh, its step ends within seconds: see `watch_parent`.
if [ -e work/running ]; then
    for _ in $(seq 20); do
        kill -0 "$(cat work/running)" 2> /dev/null || break
        sleep 1
    done
    if kill -0 "$(cat work/running)" 2> /dev/null; then
        echo "error: process $(cat work/running) of an earlier call still" \
            "runs; wait for it, or end it" >&2
        exit 2
    fi
fi

# watch_parent PARENT CHILD: ends a step whose run.sh is gone.
watch_parent() {
    while kill -0 "$2" 2> /dev/null; do
        kill -0 "$1" 2> /dev/null || kill "$2" 2> /dev/null
        sleep 1
    done
}

# step NAME COMMAND...
step() {
    local name=$1 minutes status=0
    shift
    minutes=$(awk -v name="$name" '$1 == name { print $2 }' <<< "$STEPS")
    # Without a timing, no minutes are known.
    [ "$TOTAL" -eq 0 ] && printf '\n[%s]\n' "$name" ||
        printf '\n[%s: %s of about %s minutes done]\n' "$name" "$DONE" "$TOTAL"
    printf '$ %s\n' "$*"
    DONE=$(awk "BEGIN { print $DONE + ${minutes:-0} }")
    if [ -e "work/$name.done" ]; then
        echo "  done before, see work/$name.log"
        return
    fi
    "$@" > >(tee -a "work/$name.log" |
        grep --line-buffered -E "$SHOWN" |
        sed -u -E 's/^[0-9/]+ [0-9:]+ - mmengine - [^A-Z]*[A-Z]+[^-]* - //' |
        sed -u "s/^/[$name] /") 2>&1 &
    echo $! > work/running
    watch_parent $$ $! &
    trap 'kill $(cat work/running) 2> /dev/null; exit 130' INT TERM
    wait "$(cat work/running)" || status=$?
    rm -f work/running
    if [ "$status" -ne 0 ]; then
        echo "failed, last lines of work/$name.log:"
        tail -n 5 "work/$name.log"
        exit "$status"
    fi
    touch "work/$name.done"
}
