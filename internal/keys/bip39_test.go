package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

func mustParams(t testing.TB, network bitcoin.Network) *chaincfg.Params {
	t.Helper()
	params, err := network.Params()
	if err != nil {
		t.Fatal(err)
	}
	return params
}

func TestWordList(t *testing.T) {
	// The digest of bip-0039/english.txt in bitcoin/bips.
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(english))); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if n := len(words()); n != 2048 {
		t.Errorf("%d words, want 2048", n)
	}
	if !slices.IsSorted(words()) { // the binary search needs it
		t.Error("the words are not sorted")
	}
}

func TestSeedVectors(t *testing.T) {
	var file struct {
		Passphrase string
		Vectors    []struct{ Entropy, Mnemonic, Seed string }
	}
	readJSON(t, "bip39.json", &file)
	if len(file.Vectors) != 24 {
		t.Fatalf("%d vectors, want 24", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.Entropy, func(t *testing.T) {
			got, err := seed(v.Mnemonic, file.Passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != v.Seed {
				t.Errorf("seed %x, want %s", got, v.Seed)
			}
		})
	}
}

func TestSeedOfAnyWhiteSpaceAndForm(t *testing.T) {
	// Computed with Python's hashlib.pbkdf2_hmac and unicodedata.normalize("NFKD", …).
	const want = "1d0017e59c99ef0b05edeb6a144b0ee9b0cf7dc32623fa539d0b5c94756d48f04a34d9d9f1e67e94eab9b67714ff9006807a38e1300d44a66b354402d924f65d"
	for name, tc := range map[string]struct{ mnemonic, passphrase string }{
		"composed":           {abandon, "p\u00e4ssw\u00f6rd \u334d\u30ac\u30d0"},
		"decomposed":         {abandon, "pa\u0308sswo\u0308rd \u30e1\u30fc\u30c8\u30eb\u30ab\u3099\u30cf\u3099"},
		"with other spacing": {"\t" + strings.ReplaceAll(abandon, " ", "  \n") + "\r\n", "p\u00e4ssw\u00f6rd \u334d\u30ac\u30d0"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := seed(tc.mnemonic, tc.passphrase)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != want {
				t.Errorf("seed %x, want %s", got, want)
			}
		})
	}
}

func TestRefusedMnemonics(t *testing.T) {
	words := strings.Fields(guide)
	replace := func(at int, word string) string {
		changed := slices.Clone(words)
		changed[at] = word
		return strings.Join(changed, " ")
	}
	for name, tc := range map[string]struct {
		mnemonic, passphrase string
		want                 Reason
		position             int
	}{
		"nothing":                           {"", "", WrongWordCount, 0},
		"white space":                       {" \n\t", "", WrongWordCount, 0},
		"eleven words":                      {strings.Join(words[:11], " "), "", WrongWordCount, 0},
		"thirteen words":                    {guide + " relax", "", WrongWordCount, 0},
		"nine words":                        {strings.Join(words[:9], " "), "", WrongWordCount, 0},
		"twenty-seven words":                {strings.Repeat("abandon ", 26) + "art", "", WrongWordCount, 0},
		"an unknown first word":             {replace(0, "splitt"), "", UnknownWord, 1},
		"an unknown last word":              {replace(11, "relaxx"), "", UnknownWord, 12},
		"a capital letter":                  {replace(4, "Dream"), "", UnknownWord, 5},
		"a comma":                           {replace(2, "text,"), "", UnknownWord, 3},
		"a prefix of a word":                {replace(6, "outs"), "", UnknownWord, 7},
		"another word at the end":           {replace(11, "relief"), "", BadChecksum, 0},
		"two words exchanged":               {strings.Join(append([]string{words[2], words[1], words[0]}, words[3:]...), " "), "", BadChecksum, 0},
		"a passphrase with a line break":    {guide, "hunter2\n", BadPassphrase, 0},
		"a passphrase with a null byte":     {guide, "hunter2\x00", BadPassphrase, 0},
		"a passphrase that is not UTF-8":    {guide, "hunter2\xff", BadPassphrase, 0},
		"the right words, checksum of none": {strings.TrimSpace(strings.Repeat("abandon ", 12)), "", BadChecksum, 0},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := FromMnemonic(tc.mnemonic, tc.passphrase, bitcoin.Mainnet)
			var refused *Error
			if set != nil || !errors.As(err, &refused) {
				t.Fatalf("%v is no *Error", err)
			}
			if refused.Reason != tc.want || refused.Position != tc.position {
				t.Errorf("%s at %d, want %s at %d", refused.Reason, refused.Position, tc.want, tc.position)
			}
			// Words that the message uses for itself are not leaks: "text" is both a word of the mnemonic and of English.
			for _, word := range append(strings.Fields(tc.mnemonic), tc.passphrase) {
				if len(word) > 4 && strings.Contains(err.Error(), word) {
					t.Errorf("%q quotes what it refuses", err)
				}
			}
		})
	}
	if _, err := FromMnemonic(guide, "", "testnet9"); err == nil || !strings.HasPrefix(err.Error(), "network ") {
		t.Errorf("an unknown network: %v", err)
	}
}

func TestPassphraseOpensAnotherWallet(t *testing.T) {
	seen := map[string]string{}
	for _, passphrase := range []string{"", " ", "a", "A", "a "} {
		set, err := FromMnemonic(guide, passphrase, bitcoin.Mainnet)
		if err != nil {
			t.Fatal(err)
		}
		xpub := set.Public().XpubVanilla
		if other, ok := seen[xpub]; ok {
			t.Errorf("passphrases %q and %q open the same wallet", passphrase, other)
		}
		seen[xpub] = passphrase
	}
}
