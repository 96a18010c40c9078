# Completion of `weft` for bash.
_weft() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]:-}
  local kinds="namespace pod deployment service endpointslice networkpolicy"
  if [[ $COMP_CWORD -eq 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "apply get delete status endpoint identity service policy ipam bpf observe lab --help --version" -- "$current")
    return
  fi
  case $command in
    apply) mapfile -t COMPREPLY < <(compgen -f -W "-f --all-or-nothing --dry-run -o" -- "$current") ;;
    get | delete) mapfile -t COMPREPLY < <(compgen -W "$kinds -n -f -o" -- "$current") ;;
    endpoint | identity | service | ipam) mapfile -t COMPREPLY < <(compgen -W "list -o" -- "$current") ;;
    policy) mapfile -t COMPREPLY < <(compgen -W "list explain --from --to --port -o" -- "$current") ;;
    bpf) mapfile -t COMPREPLY < <(compgen -W "policy endpoints flows services backends identities netns affinity devices config list stats -o" -- "$current") ;;
    observe) mapfile -t COMPREPLY < <(compgen -W "--follow --last --since --pod --namespace --label --identity --port --verdict -o" -- "$current") ;;
    lab) mapfile -t COMPREPLY < <(compgen -W "up apply delete exec list probe down --name -f -o" -- "$current") ;;
  esac
}
complete -F _weft weft
