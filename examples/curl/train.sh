#!/usr/bin/env bash
# Trains a model, and generates images by it.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run trainings '{"recipe": "vae", "data": "digits", "num_steps": 20, "sample_every": 10, "title": "My digits"}')
model=$(call "jobs/$job" | grep -o '"model":"vae-[^"]*"' | head -n 1 | cut -d '"' -f 4)
job=$(run generations '{"model": "'"$model"'", "n": 4}')
save "$job" 4 digits.png
