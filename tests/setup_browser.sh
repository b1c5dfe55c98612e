#!/bin/sh
# Installs Chromium for tests/test_report_browser.py, where it is missing and apt-get may be used. Without a browser these
# tests are skipped, so nothing here is an error.
if [ -n "$CHROMIUM" ] || command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "No Chromium, and no way to install it: the browser tests will be skipped." >&2
    exit 0
fi
{ apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
    echo "Chromium could not be installed: the browser tests will be skipped." >&2
exit 0
