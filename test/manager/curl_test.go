package manager_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// asCurl reports whether this binary was called by the name of curl: the pages use that, and a bare machine has none.
func asCurl() bool { return filepath.Base(os.Args[0]) == "curl" }

// curl does what the pages ask of curl, curl [-s] URL [-d DATA], and returns its exit code: 2 for what they do not, 7 for no answer.
func curl(arguments []string, out io.Writer) int {
	url, method, data := "", http.MethodGet, ""
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; {
		case argument == "-s":
		case argument == "-d" && i+1 < len(arguments):
			i++
			method, data = http.MethodPost, arguments[i]
		case url == "" && !strings.HasPrefix(argument, "-"):
			url = argument
		default:
			fmt.Fprintf(os.Stderr, "curl: the tests' own knows no %s\n", argument)
			return 2
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	request, err := http.NewRequest(method, url, strings.NewReader(data))
	if err != nil {
		return 2
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 7
	}
	defer response.Body.Close()
	if _, err := io.Copy(out, response.Body); err != nil {
		return 18 // a partial answer
	}
	return 0
}
