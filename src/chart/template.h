// The part of Go's text/template, with helm's functions, that the chart keeps to:
//
//   {{ PIPELINE }}  {{ if PIPELINE }} {{ else }} {{ end }}  {{ range $key, $value := PIPELINE }} {{ end }}  (of a
//   mapping)
//   {{ define "NAME" }} {{ end }}  {{ /* comment */ }}  and "{{-", "-}}", which take the white space beside them away
//
// A pipeline is commands joined by "|", each of which gets what the one before it made as its last argument: a path
// (.Values.agent.resources), a variable, a text in quotes or a number; or include NAME ., eq A B, semverCompare
// ">=1.30-0" VERSION (of this form), toJson, nindent N, sha256sum. https://pkg.go.dev/text/template,
// https://helm.sh/docs/chart_template_guide/
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::chart {

struct TemplateNode;

class Templates {
 public:
  Templates();
  ~Templates();
  Templates(const Templates&) = delete;
  Templates& operator=(const Templates&) = delete;

  // What the file defines is known to all others. Errors say "<name>:<line>: ...".
  Result<void> add(const std::string& name, std::string_view text);
  // The text of a file that was added; `data` is ".".
  [[nodiscard]] Result<std::string> render(const std::string& name, const nlohmann::json& data) const;

 private:
  std::map<std::string, std::unique_ptr<TemplateNode>, std::less<>> files_;
  std::map<std::string, std::unique_ptr<TemplateNode>, std::less<>> defined_;
};

}  // namespace weft::chart
