package signerserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

var (
	owner = keys.Public{Network: bitcoin.Regtest, MasterFingerprint: "0badcafe", XpubVanilla: "tpub1", XpubColored: "tpub2"}
	noon  = time.Date(2030, time.June, 1, 12, 0, 0, 0, time.UTC)
)

func openJournal(t *testing.T, path string, now time.Time) *Journal {
	t.Helper()
	journal, err := OpenJournal(path, owner, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = journal.Close() }) // a case may have closed it
	return journal
}

func appended(t *testing.T, journal *Journal, at time.Time, txid string, outflow amount.Sat) {
	t.Helper()
	if err := journal.Append(Entry{At: at, Txid: txid, OutflowSats: outflow, Record: "ln-1", Attempt: 1}); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, journal *Journal) {
	t.Helper()
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestJournalCountsADay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal := openJournal(t, path, noon)
	appended(t, journal, noon, "a", 100)
	appended(t, journal, noon.Add(time.Hour), "b", 20)
	check := func(when string, now time.Time, spent amount.Sat, first bool) {
		t.Helper()
		if got := journal.SpentSats(now); got != spent {
			t.Errorf("%s: %d sat are spent, want %d", when, got, spent)
		}
		if _, again := journal.Signed("a", 100, now); again != first {
			t.Errorf("%s: the first is known: %t", when, again)
		}
	}
	check("at once", noon.Add(time.Hour), 120, true)
	check("a moment before a day is over", noon.Add(Window-1), 120, true)
	check("after a day", noon.Add(Window), 20, false)
	check("after a clock was set back", noon.Add(-time.Hour), 120, true)
	if _, again := journal.Signed("a", 101, noon); again {
		t.Error("the same transaction with another outflow is known")
	}
	closed(t, journal)

	journal = openJournal(t, path, noon.Add(2*time.Hour))
	check("after a restart", noon.Add(2*time.Hour), 120, true)
	closed(t, journal)
	journal = openJournal(t, path, noon.Add(Window))
	check("after a restart a day later", noon.Add(Window), 20, false)
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("the journal holds more than what counts: %q, %v", text, err)
	}
}

// TestJournalAfterACrash cuts the file off at every byte of its last line: that signature never left, and all before it did.
func TestJournalAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal := openJournal(t, path, noon)
	appended(t, journal, noon, "a", 100)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	appended(t, journal, noon, "b", 20)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, journal)
	for size := len(before); size <= len(whole); size++ {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		want := amount.Sat(100)
		if size == len(whole) {
			want = 120
		}
		journal := openJournal(t, path, noon)
		if got := journal.SpentSats(noon); got != want {
			t.Errorf("after %d of %d bytes %d sat are spent, want %d", size, len(whole), got, want)
		}
		appended(t, journal, noon, "c", 3)
		closed(t, journal)
		journal = openJournal(t, path, noon)
		if got := journal.SpentSats(noon); got != want+3 {
			t.Errorf("after %d of %d bytes and another %d sat are spent, want %d", size, len(whole), got, want+3)
		}
		closed(t, journal)
	}
}

func TestJournalRefusesWhatItCannotRead(t *testing.T) {
	const first = `{"version":1,"network":"regtest","masterFingerprint":"0badcafe","xpubVanilla":"tpub1"}` + "\n"
	const entry = `{"at":"2030-06-01T12:00:00Z","txid":"a","outflowSats":100,"record":"ln-1","attempt":1}` + "\n"
	for name, tc := range map[string]struct{ text, want string }{
		"an empty file":          {"", "no journal"},
		"another file":           {"listen: 8443\n", "no journal"},
		"a file without a line":  {"listen: 8443", "no journal"},
		"another wallet's":       {strings.Replace(first, "0badcafe", "00000000", 1), "another wallet"},
		"another network's":      {strings.Replace(first, "regtest", "mainnet", 1), "another wallet"},
		"a later version's":      {strings.Replace(first, `:1,`, `:2,`, 1), "another wallet"},
		"a spoilt line":          {first + strings.Replace(entry, `"a"`, `"a`, 1) + entry, "line 2"},
		"a field of a later one": {first + entry + strings.Replace(entry, `"txid"`, `"asset":1,"txid"`, 1), "line 3"},
		"a negative outflow":     {first + strings.Replace(entry, "100", "-100", 1), "line 2"},
		"an outflow beyond all":  {first + strings.Replace(entry, "100", "2100000000000001", 1), "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			journal, err := OpenJournal(path, owner, noon)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if journal != nil {
				closed(t, journal)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != tc.text {
				t.Errorf("the file was changed to %q, %v", text, err)
			}
		})
	}
}

func TestJournalHasOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	first := openJournal(t, path, noon)
	if second, err := OpenJournal(path, owner, noon); second != nil || err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process got it: %v", err)
	}
	closed(t, first)
	closed(t, openJournal(t, path, noon))
}

// TestJournalThatCannotBeWritten signs nothing more, and tells.
func TestJournalThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal := openJournal(t, path, noon)
	appended(t, journal, noon, "a", 100)
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := journal.file.Close(); err != nil {
		t.Fatal(err)
	}
	journal.file = readOnly
	for range 2 {
		if err := journal.Append(Entry{At: noon, Txid: "b", OutflowSats: 20}); !errors.Is(err, ErrJournal) {
			t.Errorf("%v, want %v", err, ErrJournal)
		}
	}
	if _, again := journal.Signed("b", 20, noon); again || journal.Healthy() || journal.SpentSats(noon) != 100 {
		t.Errorf("it counts what it could not write, or calls itself healthy: %t, %t", again, journal.Healthy())
	}
}

func TestJournalStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	journal := openJournal(t, path, noon)
	for i := range staleEntries {
		journal.remember(Entry{At: noon, Txid: fmt.Sprint(i), OutflowSats: 1})
	}
	appended(t, journal, noon.Add(Window), "last", 7)
	if got := journal.SpentSats(noon.Add(Window)); got != 7 || len(journal.entries) != 1 || len(journal.signed) != 1 {
		t.Errorf("%d sat in %d entries, want the last alone", got, len(journal.entries))
	}
	closed(t, journal)
	if got := openJournal(t, path, noon.Add(Window)).SpentSats(noon.Add(Window)); got != 7 {
		t.Errorf("%d sat after a restart", got)
	}
}
