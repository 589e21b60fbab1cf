#!/usr/bin/env bash
# Makes the screenshots of the report that stand in the documentation:
#
#   bash docs/make_screenshots.sh WORK_DIR [WORK_DIR...]
#
# from the records of searches. Needs Chromium, and pngquant if there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
CHROMIUM=${CHROMIUM:-chromium}
OUT=docs/images
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

python tools/analysis_tools/search_report.py "$@" --out "$WORK/report.html"

# shoot NAME WIDTH HEIGHT SCHEME
shoot() {
    # Headless Chromium takes the scheme from this setting, 0 is dark.
    local scheme=1
    if [ "$4" = dark ]; then scheme=0; fi
    # No window is as narrow as a telephone, but a frame is.
    echo "<body style='margin: 0'><iframe src='report.html' style='border: 0;
        width: $2px; height: $3px'></iframe>" > "$WORK/frame.html"
    local window=$(($2 > 500 ? $2 : 500))
    "$CHROMIUM" --headless --no-sandbox --disable-gpu --disable-quic \
        --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --hide-scrollbars \
        --user-data-dir="$(mktemp -d -p "$WORK")" \
        --blink-settings=preferredColorScheme=$scheme \
        --window-size="$window,$3" --screenshot="$WORK/shot.png" \
        "file://$WORK/frame.html" 2> "$WORK/chromium.log"
    python -c "import sys; from PIL import Image; shot, out, *size = sys.argv[1:]
Image.open(shot).crop((0, 0, *map(int, size))).save(out)" \
        "$WORK/shot.png" "$OUT/$1.png" "$2" "$3"
    if command -v pngquant > /dev/null; then
        pngquant --force --ext .png 64 "$OUT/$1.png"
    fi
    echo "$OUT/$1.png"
}

shoot report_wide_light 1280 3640 light
shoot report_wide_dark 1280 3640 dark
shoot report_narrow_light 390 1750 light
shoot report_narrow_dark 390 1750 dark
