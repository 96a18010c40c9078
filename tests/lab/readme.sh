#!/usr/bin/env bash
# The tour of README.md, command by command in its order, in a lab of this test's own name.
# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 2
labs+=("$lab")

# "    $ build/bin/weft ..." -> the command, with the tour's lab renamed.
mapfile -t tour < <(sed -n 's/^    \$ build\/bin\/weft //p' README.md)
is "the tour has its commands" "$([[ ${#tour[@]} -ge 8 ]] && echo yes)" yes

for line in "${tour[@]}"; do
  step "weft $line"
  line=${line//tour/$lab}
  wanted=0
  [[ $line == *default/stranger*curl* ]] && wanted=28 # curl: timed out, which is the point
  read -r -a words <<<"$line"
  exits "$wanted" "weft $line" "$weft" "${words[@]}"
  case $line in
    *default/client*curl*) like "the client's answer" "$output" '^web-[01]$' ;;
    *"lab probe"*) like "the matrix" "$output" 'denied and stopped \(4\)' ;;
    *"--service"*) like "the flow names service and rule" "$output" 'via svc/default/web:80.*web-from-client ingress rule 0' ;;
    *"--verdict"*) like "the denial names its policy" "$output" 'default deny ingress by default/web-from-client' ;;
    *explain*) like "the explanation" "$output" 'add pods app=stranger in namespace default' ;;
    *) ;;
  esac
done
finish
