#include "chart/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::chart {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string made(const std::string& text, const json& data = {{"Values",
                                                               {{"name", "web"},
                                                                {"count", 2},
                                                                {"on", true},
                                                                {"off", ""},
                                                                {"list", {"a", "b"}},
                                                                {"map", {{"b", 1}, {"a", "x"}}}}}}) {
  Templates templates;
  if (const auto added = templates.add("test", text); !added) return added.error().message;
  const auto rendered = templates.render("test", data);
  return rendered ? *rendered : rendered.error().message;
}

TEST(TemplateTest, ValuesAndWhiteSpace) {
  EXPECT_EQ(made("a {{ .Values.name }} b"), "a web b");
  EXPECT_EQ(made("a  {{- .Values.name -}}  b"), "awebb");
  EXPECT_EQ(made("a {{ .Values.count }}{{ .Values.on }}"), "a 2true");
  EXPECT_EQ(made("{{- /* nothing\n of this */ -}} x"), "x");
  EXPECT_EQ(made("{{ .Values.list | toJson }}"), R"(["a","b"])");
  EXPECT_EQ(made("{{ .Values.name | toJson }}"), R"("web")");
}

TEST(TemplateTest, Conditions) {
  EXPECT_EQ(made("{{ if .Values.off }}a{{ else }}b{{ end }}"), "b");
  EXPECT_EQ(made("x\n{{- if .Values.list }}\na\n{{- end }}\ny"), "x\na\ny");
  EXPECT_EQ(made("x\n{{- if eq .Values.name \"db\" }}\na\n{{- end }}\ny"), "x\ny");
  EXPECT_EQ(made("{{ if .Values.on }}{{ if .Values.off }}a{{ end }}b{{ end }}"), "b");
}

TEST(TemplateTest, RangesGoByTheOrderOfKeys) {
  EXPECT_EQ(made("{{- range $key, $value := .Values.map }}\n{{ $key }}={{ $value | toJson }}\n{{- end }}"),
            "\na=\"x\"\nb=1");
}

TEST(TemplateTest, DefinedPartsAreIncluded) {
  const std::string define = "{{ define \"part\" -}}\n{{ .Values.name }}\ntwo\n{{- end -}}\n";
  EXPECT_EQ(made(define + "x:{{ include \"part\" . | nindent 2 }}"), "x:\n  web\n  two");
  // As `printf abc | sha256sum` has it.
  EXPECT_EQ(made("{{ \"abc\" | sha256sum }}"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(TemplateTest, JsonIsSpelledAsGoDoes) { EXPECT_EQ(made("{{ \"<a&b>\" | toJson }}"), R"("\u003ca\u0026b\u003e")"); }

TEST(TemplateTest, VersionsAreCompared) {
  const auto newer = [](const std::string& version) {
    return made("{{ semverCompare \">=1.30-0\" .Values.version }}", {{"Values", {{"version", version}}}});
  };
  EXPECT_EQ(newer("v1.30.0"), "true");
  EXPECT_EQ(newer("v1.30.4+rke2r1"), "true");
  EXPECT_EQ(newer("1.31"), "true");
  EXPECT_EQ(newer("v2.0.0"), "true");
  EXPECT_EQ(newer("v1.29.15-gke.3"), "false");
  EXPECT_EQ(newer("v1.3.0"), "false");
  EXPECT_THAT(newer("new"), HasSubstr("test:1: semverCompare is for"));
  EXPECT_THAT(made("{{ semverCompare \"<1.30\" \"1.2\" }}"), HasSubstr("semverCompare is for"));
}

TEST(TemplateTest, MistakesAreNamedByTheirLine) {
  EXPECT_EQ(made("\n\n{{ .Values.nme }}"), "test:3: there is no \"nme\"");
  EXPECT_EQ(made("\n{{ if .Values.on }}"), "test:2: if needs else or end");
  EXPECT_EQ(made("{{ end }}"), "test:1: \"end\" belongs to nothing");
  EXPECT_EQ(made("{{ .Values.name | upper }}"), "test:1: \"upper\" is not known here");
  EXPECT_EQ(made("\n{{ .Values"), "test:2: \"{{\" without \"}}\"");
  EXPECT_EQ(made("{{ include \"none\" . }}"), "test:1: nothing defines \"none\"");
  EXPECT_THAT(made("{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}"), HasSubstr("in a circle"));
  EXPECT_EQ(made("{{ range .Values.map }}{{ end }}"), "test:1: range needs $key, $value := and a mapping");
}

}  // namespace
}  // namespace weft::chart
