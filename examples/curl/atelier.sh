# Functions of the scripts beside it, which read it: . examples/curl/atelier.sh
# ATELIER_URL is the address of the service, and ATELIER_API_KEY the key of one that needs it.
shopt -s inherit_errexit # an error inside $(…) ends a script
url=${ATELIER_URL:-http://127.0.0.1:8000}

# call PATH [OPTIONS OF CURL]: prints the response, or an error on standard error
call() {
  local path=$1 body
  shift
  body=$(curl --fail-with-body -sS ${ATELIER_API_KEY:+-H "Authorization: Bearer $ATELIER_API_KEY"} "$url/v1/$path" "$@") ||
    { echo "$body" >&2; return 1; }
  printf '%s\n' "$body"
}

# field NAME: prints the first value of a name in JSON
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# upload FILE [images|archives]: prints its id
upload() { call "${2:-images}" -F "file=@$1" | field id; }

# run KIND BODY: submits a job, waits for its end and prints its id
run() {
  local job
  job=$(call "$1" -H 'Content-Type: application/json' -d "$2" | field id)
  curl -sSN ${ATELIER_API_KEY:+-H "Authorization: Bearer $ATELIER_API_KEY"} "$url/v1/jobs/$job/events" >/dev/null
  call "jobs/$job" | grep -q '"status":"succeeded"' || { call "jobs/$job" >&2; return 1; }
  echo "$job"
}

# save JOB INDEX FILE: downloads an output
save() {
  curl -fsSL ${ATELIER_API_KEY:+-H "Authorization: Bearer $ATELIER_API_KEY"} "$url/v1/jobs/$1/outputs/$2" -o "$3"
  echo "$3"
}
