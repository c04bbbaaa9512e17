#!/usr/bin/env bash
# Generates faces by a DCGAN, and one face made of others by arithmetic on their latent codes.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run generations '{"model": "dcgan-avatars", "n": 4, "seed": 7}')
save "$job" 4 faces.png # 0 to 3 are the samples, 4 is their grid
job=$(run generations '{"model": "dcgan-avatars", "mode": "arithmetic",
  "terms": [{"sign": "+", "seed": 7}, {"sign": "-", "seed": 8}, {"sign": "+", "seed": 9}]}')
save "$job" 0 mixed.png
