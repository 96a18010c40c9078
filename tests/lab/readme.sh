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

# What varies between runs, made equal: times, ports, counts, addresses, which replica answered.
plain() {
  sed -E "s/$lab/tour/g; s/[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}/TIME/; s/[0-9.]+ s\$/N s/; s/:[0-9]{4,5} ->/:PORT ->/
    s/[0-9]+ B in [0-9]+( packets)?/N B/g; s/10\.244\.0\.[0-9]+/ADDRESS/g; s/^web-[01]\$/web-N/; s/> default\/web-[01]/> default\/web-N/; s/default\/web-[01] \(/default\/web-N (/
    s/^(192\.0\.2\.1):[0-9]+ +/\1:PORT /; s/pod weft[0-9]+ +[0-9]+s +[0-9]+\/[0-9]+ +[0-9]+ B\/[0-9]+ B/pod N/
    s/^(CLIENT|192.0.2.1:PORT) +/\1 /; s/ +LEAVES BY +/ LEAVES BY /; s/\(ADDRESS:8080\) +/(ADDRESS:8080) /; s/(BACKEND) +/\1 /; s/AGE +PACKETS/AGE PACKETS/"
}
# The lines README.md shows below its command number N, as a pattern where "..." stands for any lines.
shown() {
  awk -v n="$1" '/^    \$ build\/bin\/weft /{at++; next} /^[^ ]/{if (at == n) exit} at == n {sub(/^    /, ""); print}' README.md |
    plain | sed -e 's/[][*?\\]/\\&/g' -e 's/^ *\.\.\.$/*/'
}

count=0
for line in "${tour[@]}"; do
  count=$((count + 1))
  pattern=$(shown $count)
  step "weft $line"
  line=${line//tour/$lab}
  wanted=0
  [[ $line == *default/stranger*curl* ]] && wanted=28 # curl: timed out, which is the point
  read -r -a words <<<"$line"
  exits "$wanted" "weft $line" "$weft" "${words[@]}"
  printed=$(plain <<<"$output")
  # shellcheck disable=SC2053  # a pattern
  [[ $printed == $pattern ]] && printed=yes
  is "README.md shows what it prints" "$printed" yes
  case $line in
    *default/client*curl*) like "the client's answer" "$output" '^web-[01]$' ;;
    *"lab probe"*) like "the matrix" "$output" 'denied and stopped \(4\)' ;;
    *world*curl*) answered=$output ;;
    *trace*)
      next=$([[ $answered == web-0 ]] && echo web-1 || echo web-0)
      like "where the next goes, where that one went" "$output" "-> default/$next .*192\.0\.2\.100:80 .*default/$answered "
      ;;
    *"--service"*) like "the flow names service and rule" "$output" 'via svc/default/web:80.*web-from-client ingress rule 0' ;;
    *"--verdict"*) like "the denial names its policy" "$output" 'default deny ingress by default/web-from-client' ;;
    *explain*) like "the explanation" "$output" 'add pods app=stranger in namespace default' ;;
    *) ;;
  esac
done
finish
