#!/usr/bin/env bash
# Submits a job, follows its events, cancels it, and submits it again.
set -euo pipefail
. examples/curl/atelier.sh

job=$(call generations -H 'Content-Type: application/json' -d '{"model": "dcgan-avatars", "n": 1}' | field id)
curl -sSN "$url/v1/jobs/$job/events" ${ATELIER_API_KEY:+-H "Authorization: Bearer $ATELIER_API_KEY"}
training=$(call trainings -H 'Content-Type: application/json' -H "Idempotency-Key: $RANDOM$RANDOM" \
  -d '{"recipe": "vae", "data": "digits"}' | field id)
call "jobs/$training/cancel" -X POST | field status
call "jobs/$job/retry" -X POST | field id
call "jobs?kind=generation&limit=2"
