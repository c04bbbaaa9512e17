#!/usr/bin/env bash
# Paints a photo in a built-in style and in the style of a painting: examples/curl/style_transfer.sh [PHOTO] [PAINTING]
set -euo pipefail
. examples/curl/atelier.sh

content=$(upload "${1:-examples/photos/chelsea.jpg}")
painting=$(upload "${2:-examples/photos/strokes.jpg}")
for style in builtin:starry-blue "$painting"; do
  job=$(run style-transfers '{"content": "'"$content"'", "style": "'"$style"'", "size": 256}')
  save "$job" 0 "${style%%[:_]*}.png" # builtin.png, img.png
done
