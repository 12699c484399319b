package manager_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// Where the tutorials say that `make sandbox` listens.
const (
	tutorialService = "127.0.0.1:8085"
	tutorialAdmin   = "127.0.0.1:8086"
)

// TestTutorials follows each page of docs/tutorials to the letter, with a manager and a sandbox of its own. docs/tutorials/README.md says
// how the pages are written.
func TestTutorials(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(kubectl.Root, "docs", "tutorials", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Base(file) == "README.md" })
	if len(files) == 0 {
		t.Fatal("there are no tutorials")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := readTutorial(string(text))
			if err != nil {
				t.Fatalf("%s:%v", file, err)
			}
			follow(t, file, steps)
		})
	}
}

// follow does what a page says, and ends the case where something else is seen than the page shows.
func follow(t *testing.T, page string, steps []tutorialStep) {
	service := newService(t, sandbox.Documented)
	admin := httptest.NewServer(service.AdminHandler())
	t.Cleanup(admin.Close)
	here := strings.NewReplacer(tutorialService, strings.TrimPrefix(service.url, "http://"), tutorialAdmin, strings.TrimPrefix(admin.URL, "http://"))
	namespaces := createdNamespaces(steps)
	if len(namespaces) == 0 {
		t.Fatalf("%s creates no namespace", page)
	}
	startManager(t, operator, "--watch-namespaces="+strings.Join(namespaces, ","), "--quarantine=3s")
	shell := startShell(t)
	for _, step := range steps {
		at := fmt.Sprintf("%s:%d", page, step.line)
		if step.file != "" {
			if err := os.WriteFile(filepath.Join(shell.dir, step.file), []byte(here.Replace(step.text)), 0o600); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			continue
		}
		started := time.Now()
		got, code, err := shell.run(here.Replace(step.text))
		if err != nil {
			t.Fatalf("%s: %v\n$ %s\n%s", at, err, step.text, got)
		}
		t.Logf("%s: %s\n$ %s\n%s", at, time.Since(started).Round(time.Millisecond), step.text, got)
		if problem := step.problem(got, code); problem != "" {
			t.Fatalf("%s: %s\n$ %s\nthe page shows:\n%s\nwhat one sees, with exit code %d:\n%s", at, problem, step.text, step.shown, code, got)
		}
	}
}

// tutorialStep is a file to write, or a command and what the page shows of it.
type tutorialStep struct {
	line int
	// file is empty for a command.
	file string
	// text is the file's, or the command.
	text, shown string
}

var (
	tutorialFile     = regexp.MustCompile(`^# ([a-z0-9-]+\.yaml)$`)
	createsNamespace = regexp.MustCompile(`\bkubectl create namespace (\S+)`)
)

// readTutorial returns what a page says to do, in its order. Every fenced block must be a file or a console.
func readTutorial(page string) ([]tutorialStep, error) {
	var steps []tutorialStep
	language := "" // of the block that line is in
	lines := strings.Split(page, "\n")
	for i, line := range lines {
		number := i + 1
		last := len(steps) - 1
		switch fence, isFence := strings.CutPrefix(line, "```"); {
		case isFence && language == "" && fence == "yaml":
			name := tutorialFile.FindStringSubmatch(lines[min(number, len(lines)-1)])
			if name == nil {
				return nil, fmt.Errorf("%d: a manifest starts with the comment of its file's name", number)
			}
			steps, language = append(steps, tutorialStep{line: number, file: name[1]}), fence
		case isFence && language == "" && fence == "console":
			if next := lines[min(number, len(lines)-1)]; !strings.HasPrefix(next, "$ ") {
				return nil, fmt.Errorf("%d: a console starts with a command", number)
			}
			language = fence
		case isFence && language == "":
			return nil, fmt.Errorf("%d: a block is yaml or console, not %q", number, fence)
		case isFence:
			language = ""
		case language == "yaml":
			steps[last].text += line + "\n"
		case language == "console":
			if command, found := strings.CutPrefix(line, "$ "); found {
				steps = append(steps, tutorialStep{line: number, text: command})
			} else if more, found := strings.CutPrefix(line, "> "); found && steps[last].shown == "" {
				steps[last].text += "\n" + more
			} else {
				steps[last].shown += line + "\n"
			}
		}
	}
	if language != "" {
		return nil, fmt.Errorf("%d: the last block has no end", len(lines))
	}
	return steps, nil
}

func createdNamespaces(steps []tutorialStep) []string {
	var found []string
	for _, step := range steps {
		for _, match := range createsNamespace.FindAllStringSubmatch(step.text, -1) {
			found = append(found, match[1])
		}
	}
	return found
}

// problem says what is different from what the page shows; empty for nothing. A command fails where the page shows an error, and only there.
func (s tutorialStep) problem(got string, code int) string {
	refused := strings.HasPrefix(s.shown, "error: ") || strings.HasPrefix(s.shown, "Error from server")
	switch {
	case code != 0 && !refused:
		return "the command failed"
	case code == 0 && refused:
		return "the command did not fail"
	case !shownPattern(s.shown).MatchString(squeeze(got)):
		return "the command prints something else"
	}
	return ""
}

var (
	shownAge     = regexp.MustCompile(`^(\d+[smhd]){1,2}$`)
	shownInstant = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`)
	// shownHash is how a page shows a hash, a key or an id: by its start.
	shownHash = regexp.MustCompile(`\b[0-9a-f]{8}(-?)…`)
)

// shownPattern matches what a page means by an output: any age, any instant and any hash for those that it shows, anything in the line for
// …, and any lines for one that is … alone. How wide columns are does not count.
func shownPattern(shown string) *regexp.Regexp {
	var pattern strings.Builder
	for line := range strings.Lines(squeeze(shown)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "…" {
			pattern.WriteString(`([^\n]*\n)*`)
			continue
		}
		words := strings.Split(line, " ")
		for i, word := range words {
			if shownAge.MatchString(word) {
				words[i] = `(\d+[smhd]){1,2}`
				continue
			}
			word = shownInstant.ReplaceAllLiteralString(regexp.QuoteMeta(word), shownInstant.String())
			word = shownHash.ReplaceAllString(word, `[0-9a-f]{8}$1…`)
			words[i] = strings.ReplaceAll(word, "…", `[^\n]*`)
		}
		pattern.WriteString(strings.Join(words, " ") + "\n")
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`)
}

// squeeze makes one space of many, leaves none at the ends of lines, and ends the last line.
func squeeze(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return lines.String()
}

// shell is one bash, in a directory of its own, with the administrator's kubeconfig.
type shell struct {
	dir string
	// scratch is where its commands and their outputs are, out of the reader's sight.
	scratch string
	in      io.Writer
	codes   *bufio.Reader
}

func startShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{dir: t.TempDir(), scratch: t.TempDir()}
	own, err := os.Executable()
	if err == nil {
		err = os.Symlink(own, filepath.Join(s.scratch, "curl"))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	command := exec.CommandContext(ctx, "bash")
	command.Dir = s.dir
	command.Env = append(os.Environ(), "KUBECONFIG="+kubectl.Kubeconfig, "LC_ALL=C", "HOME="+s.scratch,
		"PATH="+strings.Join([]string{s.scratch, testkit.AssetsDirectory(kubectl.Root), os.Getenv("PATH")}, string(os.PathListSeparator)),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com",
		"GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) } // with what it has started
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.codes = in, bufio.NewReader(out)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait() // it was killed
	})
	return s
}

// run returns what a command prints, on both of its outputs, and its exit code. What it leaves in the shell stays there.
func (s *shell) run(command string) (string, int, error) {
	script, output := filepath.Join(s.scratch, "command"), filepath.Join(s.scratch, "output")
	if err := os.WriteFile(script, []byte(command+"\n"), 0o600); err != nil {
		return "", 0, err
	}
	if _, err := fmt.Fprintf(s.in, ". %s >%s 2>&1 </dev/null; echo $?\n", script, output); err != nil {
		return "", 0, fmt.Errorf("telling the shell: %w", err)
	}
	answer, err := s.codes.ReadString('\n')
	printed, readErr := os.ReadFile(output)
	if err != nil {
		return string(printed), 0, fmt.Errorf("the shell ended, or was ended after %s: %w", patience, err)
	}
	code, err := strconv.Atoi(strings.TrimSpace(answer))
	if err == nil {
		err = readErr
	}
	return string(printed), code, err
}

// TestTutorialsAreHeldToWhatTheyShow shows that the check of the tutorials finds what is different, and nothing else.
func TestTutorialsAreHeldToWhatTheyShow(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		shown, got string
		code       int
		want       string
	}{
		"the same":                             {shown: "a b\n", got: "a b\n"},
		"nothing, twice":                       {},
		"no line end, as jsonpath prints":      {shown: "a\n", got: "a"},
		"wider columns and another age":        {shown: "NAME   AGE\nrent   6s\n", got: "NAME         AGE\nrent         2m10s\n"},
		"another instant":                      {shown: `{"at": "2026-11-22T15:17:17Z"}` + "\n", got: `{"at": "2027-01-01T00:00:00Z"}` + "\n"},
		"a rest that is left out":              {shown: "hash 5f0c…\n", got: "hash 5f0c9a77\n"},
		"lines that are left out":              {shown: "a\n…\nz\n", got: "a\nb\nc\nz\n"},
		"an error that is shown":               {shown: "error: no\n", got: "error: no\n", code: 1},
		"another hash":                         {shown: "plan 71dd5865… waits\n", got: "plan 5bdf0c7e37af waits\n"},
		"no hash":                              {shown: "plan 71dd5865… waits\n", got: "plan none waits\n", want: "prints something else"},
		"another word":                         {shown: "Succeeded\n", got: "Failed\n", want: "prints something else"},
		"a line more":                          {shown: "a\n", got: "a\nb\n", want: "prints something else"},
		"a line less":                          {shown: "a\nb\n", got: "a\n", want: "prints something else"},
		"nothing where something is shown":     {shown: "a\n", want: "prints something else"},
		"something where nothing is shown":     {got: "a\n", want: "prints something else"},
		"another number that is no age":        {shown: "5000\n", got: "5001\n", want: "prints something else"},
		"what is left out of one line, in two": {shown: "a … c\n", got: "a b\nb c\n", want: "prints something else"},
		"a dot is a dot":                       {shown: "a.b\n", got: "acb\n", want: "prints something else"},
		"a failure that is not shown":          {shown: "a\n", got: "a\n", code: 1, want: "the command failed"},
		"a failure that does not come":         {shown: "Error from server (Forbidden): …\n", got: "Error from server (Forbidden): no\n", want: "did not fail"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tutorialStep{shown: tc.shown}.problem(tc.got, tc.code)
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("problem() = %q, want %q", got, tc.want)
			}
		})
	}
	for name, page := range map[string]string{
		"a manifest without a name":     "```yaml\nkind: Wallet\n```\n",
		"a manifest in another place":   "```yaml\n# ../wallet.yaml\n```\n",
		"an output without a command":   "```console\nnamespace/a created\n```\n",
		"a block that would not be run": "```sh\nmake demo\n```\n",
		"a block without an end":        "```console\n$ true\n",
		"an empty console at the end":   "```console",
	} {
		t.Run(name, func(t *testing.T) {
			if steps, err := readTutorial(page); err == nil {
				t.Errorf("it was read as %+v", steps)
			}
		})
	}
}
