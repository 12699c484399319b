package manager_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mnemonic is public: it stands in the documentation of the service. A passphrase makes a wallet of a case's own of it.
const mnemonic = "split capable text loop dream live outside suspect eight carry fine relax"

// secrets are the texts that nothing may show, collected from all cases as they come up.
var secrets struct {
	sync.Mutex
	texts map[string]bool
}

// canary makes text, a secret of a case, one that no log may hold.
func canary(text string) {
	secrets.Lock()
	defer secrets.Unlock()
	if secrets.texts == nil {
		secrets.texts = map[string]bool{}
		// Single words of a mnemonic are words of logs too; two in a row are not.
		words := strings.Fields(mnemonic)
		for i := range words[1:] {
			secrets.texts[words[i]+" "+words[i+1]] = true
		}
	}
	secrets.texts[text] = true
}

func canaries() []string {
	secrets.Lock()
	defer secrets.Unlock()
	var texts []string
	for text := range secrets.texts {
		texts = append(texts, text)
	}
	return texts
}

// secretShape is what extended private keys and PSBTs look like, whosever they are. Inside of a word the former are chance: a BOLT11 is
// made of the same letters.
var secretShape = regexp.MustCompile(`\b[xyztuv]prv[1-9A-HJ-NP-Za-km-z]{20}|cHNidP|70736274ff`)

// leaks says which secrets text holds, without repeating them.
func leaks(text string, secrets []string) (found []string) {
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			found = append(found, fmt.Sprintf("holds a secret of %d bytes after %q", len(secret), text[max(0, at-80):at]))
		}
	}
	if at := secretShape.FindStringIndex(text); at != nil {
		found = append(found, fmt.Sprintf("holds what looks like a key or a PSBT after %q", text[max(0, at[0]-80):at[0]]))
	}
	return found
}

// logProblems says what is wrong with the log of a manager: a line that is no JSON object of level, ts and msg, or a secret.
func logProblems(log string, secrets []string) (problems []string) {
	for line := range strings.Lines(log) {
		var entry struct {
			Level *string `json:"level"`
			At    any     `json:"ts"`
			Msg   *string `json:"msg"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			problems = append(problems, fmt.Sprintf("has a line that is no JSON: %s", line))
		} else if entry.Level == nil || entry.At == nil || entry.Msg == nil {
			problems = append(problems, fmt.Sprintf("has a line without level, ts or msg: %s", line))
		}
	}
	return append(problems, leaks(log, secrets)...)
}

// TestLogProblems shows that the check which ends every other case finds what it looks for.
func TestLogProblems(t *testing.T) {
	const line = `{"level":"info","ts":"2026-01-01T00:00:00Z","msg":"%s"}` + "\n"
	secrets := []string{"split capable", "bearer-1042"}
	cases := map[string]struct {
		log  string
		want string
	}{
		"two entries":                {log: fmt.Sprintf(line, "starting") + fmt.Sprintf(line, "stopping")},
		"a word of the mnemonic":     {log: fmt.Sprintf(line, "split the work")},
		"plain text":                 {log: fmt.Sprintf(line, "starting") + "panic: no\n", want: "is no JSON"},
		"an entry without a message": {log: `{"level":"info","ts":1}` + "\n", want: "without level, ts or msg"},
		"two words of the mnemonic":  {log: fmt.Sprintf(line, "cannot parse split capable"), want: "holds a secret of 13 bytes"},
		"a bearer token":             {log: fmt.Sprintf(line, "Authorization: Bearer bearer-1042"), want: "holds a secret of 11 bytes"},
		"a PSBT in base64":           {log: fmt.Sprintf(line, "signing cHNidP8BAH0CAAAAAc"), want: "looks like a key or a PSBT"},
		"an extended private key":    {log: fmt.Sprintf(line, "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58"), want: "looks like a key or a PSBT"},
		"an invoice that happens to look like a key": {
			log: fmt.Sprintf(line, "paying lnbcrt50u1p5j8qqqpp5tprvqcqzys9qrsgqsadcg84ffktzaw66wg8zavt6ekw5zc7yw5"),
		},
		"an extended public key is fine": {log: fmt.Sprintf(line, "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(logProblems(tc.log, secrets), "\n")
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("logProblems() = %q, want %q", got, tc.want)
			}
			if strings.Contains(got, "bearer-1042") && tc.want != "" {
				t.Errorf("logProblems() repeats the secret: %q", got)
			}
		})
	}
}
