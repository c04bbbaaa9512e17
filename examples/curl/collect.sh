#!/usr/bin/env bash
# Makes a collection of images; lists, searches and exports its members.
set -euo pipefail
. examples/curl/atelier.sh

job=$(run collections '{"name": "Digits", "space": "pixels", "data": "digits", "limit": 60, "image_size": 16,
  "channels": 1, "clusterings": [{"method": "kmeans", "n_clusters": 5}]}')
collection=${job/job_/col_}
call "collections/$collection/plots/t-sne" -L -o map.png
call "collections/$collection/members?cluster=0&limit=3"
call "jobs/$(run "collections/$collection/search" '{"member": 0, "n": 3}')"
call "collections/$collection/export?format=parquet" -L -o digits.parquet
