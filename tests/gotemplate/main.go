// Records what Go's text/template with sprig's functions makes of each line of corpus.txt, for the tests of crates/generators:
//
//	go run . > cases.json
//
// A line is a template. "⏎" stands for a new line. A line may begin with an option, such as "@missingkey=error ". Lines that
// begin with "#" are headings. Every template sees the data of data.json.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/gosimple/slug"
	"sigs.k8s.io/yaml"
)

type testCase struct {
	Group    string  `json:"group"`
	Template string  `json:"template"`
	Option   string  `json:"option,omitempty"`
	Output   *string `json:"output,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// What ApplicationSets have beside sprig's functions.
func functions() template.FuncMap {
	all := sprig.GenericFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(all, name)
	}
	forbidden := regexp.MustCompile(`[^-a-z0-9.]`)
	normalize := func(name string) string {
		name = forbidden.ReplaceAllString(strings.ToLower(name), "-")
		if len(name) > 253 {
			name = name[:253]
		}
		return strings.Trim(name, "-.")
	}
	all["normalize"] = normalize
	// As in Argo CD: of what normalize leaves, and cut between words unless told otherwise.
	all["slugify"] = func(arguments ...any) (string, error) {
		if len(arguments) == 0 {
			return "", fmt.Errorf("slugify needs a text")
		}
		text, limit, smart := arguments[len(arguments)-1].(string), 50, true
		if len(arguments) > 1 {
			limit = arguments[0].(int)
		}
		if len(arguments) > 2 {
			smart = arguments[1].(bool)
		}
		slug.MaxLength, slug.EnableSmartTruncate = limit, smart
		return slug.Make(normalize(text)), nil
	}
	all["toYaml"] = func(value any) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["fromYaml"] = func(text string) (map[string]any, error) {
		value := map[string]any{}
		err := yaml.Unmarshal([]byte(text), &value)
		return value, err
	}
	all["fromYamlArray"] = func(text string) ([]any, error) {
		value := []any{}
		err := yaml.Unmarshal([]byte(text), &value)
		return value, err
	}
	return all
}

// Whole numbers stay whole numbers, as in Lockstep; Argo CD makes them floating-point numbers.
func numbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return int(whole)
		}
		real, _ := value.Float64()
		return real
	case map[string]any:
		for key := range value {
			value[key] = numbers(value[key])
		}
	case []any:
		for index := range value {
			value[index] = numbers(value[index])
		}
	}
	return value
}

func data() any {
	text, err := os.ReadFile("data.json")
	check(err)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	check(decoder.Decode(&value))
	return numbers(value)
}

func run(text, option string) (result string, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	parsed := template.New("").Funcs(functions())
	if option != "" {
		parsed = parsed.Option(option)
	}
	if parsed, err = parsed.Parse(text); err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, data())
	return out.String(), err
}

func main() {
	file, err := os.Open("corpus.txt")
	check(err)
	cases, group := []testCase{}, ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		if heading, found := strings.CutPrefix(line, "# "); found {
			group = heading
			continue
		}
		one := testCase{Group: group}
		if rest, found := strings.CutPrefix(line, "@"); found {
			one.Option, line, _ = strings.Cut(rest, " ")
		}
		one.Template = strings.ReplaceAll(line, "⏎", "\n")
		output, err := run(one.Template, one.Option)
		if err != nil {
			one.Error = err.Error()
		} else {
			one.Output = &output
		}
		cases = append(cases, one)
	}
	check(lines.Err())
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	check(encoder.Encode(cases))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
