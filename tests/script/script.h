// Scripts: commands, each followed by what it prints, indented by two spaces. `#` begins a comment.
//
//   config <<YAML ... YAML         the agent's configuration and a fresh node; first, if at all
//   sizes MAP=ENTRIES ...          smaller maps, with a fresh node
//   apply <<YAML ... YAML          all or nothing
//   delete KIND [NS/]NAME
//   attach NS/POD ...              prints the addresses given
//   detach NS/POD ...
//   dump WHAT                      see dump.h
//   verdict FROM TO PORT           NS/POD, an address, "host" or "world"; of a service each backend
//   follow FROM TO PORT            asks for the verdict after every write to a map from here on
//   seen                           prints the verdicts followed, each once until it changed; ends it
//   restart                        prints how many map writes the new process made
//   fail every N | fail map MAP    map writes fail from here on
//   heal                           they succeed again, and what is owed is done
//
// A command that is refused prints "error: CODE: MESSAGE".
#pragma once

#include <string>

namespace weft::script {

// The script with what its commands print now: the same text when all is as expected.
std::string run_script(const std::string& name, const std::string& text);

}  // namespace weft::script
