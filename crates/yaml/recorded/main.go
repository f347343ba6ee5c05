// Records again what sigs.k8s.io/yaml makes of each text of texts.jsonl, for the tests of crates/yaml:
//
//	go run . < texts.jsonl > new.jsonl && mv new.jsonl texts.jsonl
//
// "stricter" says that we refuse what it reads, "looser" that we read what it refuses; people write these.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"sigs.k8s.io/yaml"
)

type text struct {
	JSON     *string `json:"json,omitempty"`
	Looser   bool    `json:"looser,omitempty"`
	Stricter bool    `json:"stricter,omitempty"`
	Text     string  `json:"text"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var line text
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			panic(err)
		}
		line.JSON = nil
		if read, err := yaml.YAMLToJSON([]byte(line.Text)); err == nil {
			found := string(read)
			line.JSON = &found
		}
		if err := out.Encode(line); err != nil {
			panic(err)
		}
	}
}
