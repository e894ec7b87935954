//go:build ignore

// This program writes common.txt, which lists common passwords in lower case, sorted by bytes, one per line.
// `make common` runs it.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
)

// The sources. Debian's python3-django has the first, and test/package.json pins the second.
const (
	djangoList = "/usr/lib/python3/dist-packages/django/contrib/auth/common-passwords.txt.gz"
	zxcvbnList = "../test/node_modules/@zxcvbn-ts/language-common/src/passwords.json"
)

func main() {
	log.SetFlags(0)
	words, err := djangoWords()
	if err != nil {
		log.Fatal(err)
	}
	more, err := zxcvbnWords()
	if err != nil {
		log.Fatal(err)
	}
	var list []string
	for _, word := range append(words, more...) {
		if word = strings.TrimSpace(strings.ToLower(word)); word != "" {
			list = append(list, word)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if err := os.WriteFile("common.txt", []byte(strings.Join(list, "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(list), "passwords")
}

func djangoWords() ([]string, error) {
	file, err := os.Open(djangoList)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(unzipped)
	return strings.Split(string(text), "\n"), err
}

func zxcvbnWords() (words []string, err error) {
	text, err := os.ReadFile(zxcvbnList)
	if err != nil {
		return nil, err
	}
	return words, json.Unmarshal(text, &words)
}
