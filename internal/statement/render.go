package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// MaxPart is how many bytes of data a ConfigMap of a document holds at most; Kubernetes takes 1 MiB.
const MaxPart = 900 << 10

// Keys of the ConfigMaps' data.
const (
	KeyCSV  = "statement.csv"
	KeyJSON = "statement.jsonl"
	// KeySummary is in the first ConfigMap of a document: its totals and its parts.
	KeySummary = "summary.json"
)

// columns are the header of a CSV document and the members of a JSON one.
var columns = []string{
	"at", "state", "direction", "method", "asset", "amount", "fee_sats", "started_at", "id", "txid", "destination", "origin",
	"kind", "namespace", "name", "revision", "record",
}

// numeric are the columns that are numbers in JSON, null where they are not known.
var numeric = map[string]bool{"amount": true, "fee_sats": true}

// cells are an entry's columns.
func cells(e *Entry) []string {
	row := []string{
		e.At.Format(time.RFC3339), string(e.State), string(e.Direction), string(e.Method), e.Asset, number(e.Amount), number(e.FeeSats),
		e.StartedAt.Format(time.RFC3339), e.ID, e.Txid, e.Destination, string(e.Origin), e.Kind, e.Namespace, e.Name, e.Revision, e.Record,
	}
	for i := range row {
		row[i] = harmless(row[i])
	}
	return row
}

func number(value *int64) string {
	if value == nil {
		return ""
	}
	return strconv.FormatInt(*value, 10)
}

// harmless makes a cell that no spreadsheet takes for a formula, in whatever way it splits a line: without a separator, a quote, a space
// or anything outside ASCII there is one cell, and one that starts with a letter or a digit is text. What a revision or a service can hold
// beyond that becomes an underscore, and what starts with a sign gets an apostrophe in front.
func harmless(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._:/~+@=?&%#$!*-", r):
			return r
		}
		return '_'
	}, text)
	if text == "" || isAlphanumeric(text[0]) {
		return text
	}
	return "'" + text
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// lines renders the lines of a document, each with its line feed. The first of a CSV document is its header.
func lines(entries []Entry, format v1alpha1.StatementFormat) []string {
	var all []string
	if format != v1alpha1.FormatJSON {
		all = append(all, strings.Join(columns, ",")+"\n")
	}
	for i := range entries {
		row := cells(&entries[i])
		if format != v1alpha1.FormatJSON {
			all = append(all, strings.Join(row, ",")+"\n") // no cell has a character that needs quotes
			continue
		}
		var line bytes.Buffer
		for c, name := range columns {
			value := strconv.Quote(row[c]) // of visible ASCII, which JSON spells alike
			if numeric[name] {
				value = row[c]
				if value == "" {
					value = "null"
				}
			}
			fmt.Fprintf(&line, `%c%q:%s`, "{,"[min(c, 1)], name, value)
		}
		line.WriteString("}\n")
		all = append(all, line.String())
	}
	return all
}

// Part is what one ConfigMap holds of a document.
type Part struct {
	Name    string `json:"name"`
	Entries int64  `json:"entries"`
	SHA256  string `json:"sha256"`
}

// Summary is what a document's first ConfigMap says of the whole: the document exists once that ConfigMap does.
type Summary struct {
	Wallet            string                    `json:"wallet"`
	MasterFingerprint string                    `json:"masterFingerprint"`
	From              time.Time                 `json:"from"`
	To                time.Time                 `json:"to"`
	Source            v1alpha1.StatementSource  `json:"source"`
	Format            v1alpha1.StatementFormat  `json:"format"`
	AssetIDs          []string                  `json:"assetIDs,omitempty"`
	Entries           int64                     `json:"entries"`
	SHA256            string                    `json:"sha256"`
	Totals            []v1alpha1.StatementTotal `json:"totals"`
	Parts             []Part                    `json:"parts"`
}

// ConfigMap is one of a document's, as it is to be created.
type ConfigMap struct {
	Name string
	Data map[string]string
}

// ErrTooLarge says that a document's totals alone do not fit into a ConfigMap.
var ErrTooLarge = errors.New("the totals do not fit into a ConfigMap: name fewer assets in spec.assetIDs")

// Compose renders a document as ConfigMaps of at most limit bytes of data each. The first is to be created last: it names the others,
// which have the document's digest in their names, so that parts of two attempts never mix.
func Compose(object *v1alpha1.Statement, period Period, wallet v1alpha1.RecordWallet, entries []Entry, limit int,
) ([]ConfigMap, *Summary, error) {
	totals, err := Sum(entries)
	if err != nil {
		return nil, nil, err
	}
	all := lines(entries, object.Spec.Format)
	summary := &Summary{
		Wallet: wallet.Name, MasterFingerprint: wallet.MasterFingerprint, From: period.From.UTC(), To: period.To.UTC(),
		Source: object.Spec.Source, Format: object.Spec.Format, AssetIDs: object.Spec.AssetIDs,
		Entries: int64(len(entries)), SHA256: digest(all), Totals: totals,
	}
	name := DocumentName(object.Name, period)
	// How much of the first ConfigMap the summary takes depends on how many parts it names.
	for room := 1 << 10; room < limit; room *= 2 {
		chunks, fits := split(all, limit-room, limit)
		if !fits {
			break
		}
		summary.Parts = parts(name, chunks, summary)
		text, err := json.Marshal(summary)
		if err != nil {
			return nil, nil, fmt.Errorf("rendering the summary: %w", err)
		}
		if len(text) > room {
			continue
		}
		maps := make([]ConfigMap, len(chunks))
		for i, chunk := range chunks {
			maps[i] = ConfigMap{Name: summary.Parts[i].Name, Data: map[string]string{dataKey(object.Spec.Format): strings.Join(chunk, "")}}
		}
		maps[0].Data[KeySummary] = string(text)
		return maps, summary, nil
	}
	return nil, nil, ErrTooLarge
}

// parts names the chunks of a document.
func parts(name string, chunks [][]string, whole *Summary) []Part {
	named := make([]Part, len(chunks))
	for i, chunk := range chunks {
		named[i] = Part{Name: name, Entries: int64(len(chunk)), SHA256: digest(chunk)}
		switch {
		case i > 0:
			named[i].Name = fmt.Sprintf("%s-%d-%s", name, i+1, whole.SHA256[:10])
		case whole.Format != v1alpha1.FormatJSON:
			named[i].Entries-- // the header
		}
	}
	return named
}

// digest is the SHA-256, in hex, of lines.
func digest(lines []string) string {
	sum := sha256.New()
	for _, line := range lines {
		sum.Write([]byte(line))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func dataKey(format v1alpha1.StatementFormat) string {
	if format == v1alpha1.FormatJSON {
		return KeyJSON
	}
	return KeyCSV
}

// split cuts lines into chunks of at most first and then limit bytes; false where a line is longer than that. There is one chunk at least.
func split(all []string, first, limit int) ([][]string, bool) {
	chunks := [][]string{nil}
	left := first
	for i, line := range all {
		if len(line) > left {
			if i == 0 || len(line) > limit {
				return nil, false
			}
			chunks = append(chunks, nil)
			left = limit
		}
		chunks[len(chunks)-1] = append(chunks[len(chunks)-1], line)
		left -= len(line)
	}
	return chunks, true
}

// maxName is how much of a Statement's name is in its documents' names, which have an instant and perhaps a part and a digest besides.
const maxName = 200

// DocumentName is the name of the first ConfigMap of a period's document.
func DocumentName(statement string, period Period) string {
	if len(statement) > maxName {
		sum := sha256.Sum256([]byte(statement))
		statement = strings.TrimRight(statement[:maxName-11], "-.") + "-" + hex.EncodeToString(sum[:5])
	}
	return statement + "-" + period.To.UTC().Format("20060102t150405z")
}

// ReadSummary reads a document that was written before from its first ConfigMap.
func ReadSummary(data map[string]string) (*Summary, error) {
	var summary Summary
	if err := json.Unmarshal([]byte(data[KeySummary]), &summary); err != nil {
		return nil, fmt.Errorf("reading the summary of a document: %w", err)
	}
	if len(summary.Parts) == 0 || !summary.From.Before(summary.To) {
		return nil, errors.New("the summary of a document lacks its parts or its period")
	}
	return &summary, nil
}
