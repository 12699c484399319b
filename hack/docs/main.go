// Command docs writes the tables of docs/conditions.md from the constants of api/v1alpha1/conditions.go: the text of a constant's
// comment is the text of its row. Its tests hold the other pages against the API.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
)

//go:generate go run .

// What stands between these two lines of a page is generated.
const (
	beginMark = "<!-- The tables are generated from api/v1alpha1/conditions.go: change them there and run make generate. -->\n"
	endMark   = "<!-- End of the generated tables. -->\n"
)

func main() {
	from := flag.String("from", "../../api/v1alpha1/conditions.go", "Go file with the constants")
	into := flag.String("into", "../../docs/conditions.md", "page to write the tables into")
	flag.Parse()
	if err := run(*from, *into); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(from, into string) error {
	source, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	page, err := os.ReadFile(into)
	if err != nil {
		return err
	}
	groups, err := readGroups(source)
	if err != nil {
		return fmt.Errorf("reading %s: %w", from, err)
	}
	rewritten, err := rewrite(page, groups)
	if err != nil {
		return fmt.Errorf("writing %s: %w", into, err)
	}
	if bytes.Equal(page, rewritten) {
		return nil
	}
	return os.WriteFile(into, rewritten, 0o644)
}

// group is one block of constants: a section of the page.
type group struct {
	// title is the block's comment up to its first colon or full stop, text what follows.
	title, text string
	constants   []constant
}

// constant is a word of the API and what it means.
type constant struct{ value, text string }

// readGroups returns the blocks of constants in a Go file. A block or a constant without a comment is an error, and so is a constant
// that is no text: nothing of the API goes undocumented.
func readGroups(source []byte) ([]group, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, declaration := range file.Decls {
		block, ok := declaration.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		comment := strings.Join(strings.Fields(block.Doc.Text()), " ")
		end := strings.IndexAny(comment, ".:")
		if end < 0 {
			return nil, fmt.Errorf("the comment of a block of constants is no sentence: %q", comment)
		}
		found := group{title: comment[:end], text: sentence(comment[end+1:])}
		for _, spec := range block.Specs {
			read, err := readConstant(spec.(*ast.ValueSpec))
			if err != nil {
				return nil, err
			}
			found.constants = append(found.constants, read)
		}
		groups = append(groups, found)
	}
	return groups, nil
}

func readConstant(spec *ast.ValueSpec) (constant, error) {
	name := spec.Names[0].Name
	text, named := strings.CutPrefix(strings.Join(strings.Fields(spec.Doc.Text()), " "), name+" ")
	if !named {
		return constant{}, fmt.Errorf("the comment of %s does not start with its name", name)
	}
	if len(spec.Names) != 1 || len(spec.Values) != 1 {
		return constant{}, fmt.Errorf("%s does not have a value of its own", name)
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return constant{}, fmt.Errorf("the value of %s is no text", name)
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return constant{}, fmt.Errorf("the value of %s: %w", name, err)
	}
	for _, verb := range []string{"is ", "means that ", "tells that "} {
		text = strings.TrimPrefix(text, verb)
	}
	return constant{value: value, text: sentence(text)}, nil
}

// sentence is text that starts with a capital letter.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// rewrite returns page with the tables of groups between its two marks.
func rewrite(page []byte, groups []group) ([]byte, error) {
	before, rest, begun := bytes.Cut(page, []byte(beginMark))
	_, after, ended := bytes.Cut(rest, []byte(endMark))
	if !begun || !ended {
		return nil, fmt.Errorf("the page does not have the lines %q and %q", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	var out bytes.Buffer
	out.Write(before)
	out.WriteString(beginMark)
	for _, g := range groups {
		fmt.Fprintf(&out, "\n## %s\n\n", g.title)
		if g.text != "" {
			fmt.Fprintf(&out, "%s\n\n", g.text)
		}
		out.WriteString("| name | meaning |\n| --- | --- |\n")
		for _, c := range g.constants {
			fmt.Fprintf(&out, "| `%s` | %s |\n", c.value, strings.ReplaceAll(c.text, "|", `\|`))
		}
	}
	out.WriteString("\n" + endMark)
	out.Write(after)
	return out.Bytes(), nil
}
