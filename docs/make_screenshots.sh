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
    "$CHROMIUM" --headless --no-sandbox --disable-gpu --disable-quic \
        --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --hide-scrollbars \
        --user-data-dir="$(mktemp -d -p "$WORK")" \
        --blink-settings=preferredColorScheme=$scheme \
        --window-size="$2,$3" --screenshot="$OUT/$1.png" \
        "file://$WORK/report.html" 2> "$WORK/chromium.log"
    if command -v pngquant > /dev/null; then
        pngquant --force --ext .png 64 "$OUT/$1.png"
    fi
    echo "$OUT/$1.png"
}

shoot report_wide_light 1100 1750 light
shoot report_wide_dark 1100 1750 dark
shoot report_narrow_light 500 1750 light
shoot report_narrow_dark 500 1750 dark
