package signerserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

// ErrJournal says that the journal cannot be written, so that nothing new is signed.
var ErrJournal = errors.New("the journal cannot be written")

// Entry is one transaction that was signed.
type Entry struct {
	At   time.Time `json:"at"`
	Txid string    `json:"txid"`
	// OutflowSats is what leaves the wallet by it, fee included.
	OutflowSats amount.Sat `json:"outflowSats"`
	// Record and Attempt are what it was said to be for.
	Record  string `json:"record"`
	Attempt int32  `json:"attempt"`
}

var errNoJournal = errors.New("line 1 of the journal cannot be read: it is no journal of this program")

// header is the first line: whose journal it is.
type header struct {
	Version           int             `json:"version"`
	Network           bitcoin.Network `json:"network"`
	MasterFingerprint string          `json:"masterFingerprint"`
	XpubVanilla       string          `json:"xpubVanilla"`
}

// signature is what is counted once. The txid alone will not do: it does not cover what the inputs are said to be worth, so a PSBT that
// names too little would be counted, and the true one then be signed for nothing (BIP 341 signs the amounts, the txid has none).
type signature struct {
	txid    string
	outflow amount.Sat
}

// Journal remembers what was signed in the last 24 hours, in a file of one JSON object a line. An entry is on the disk before Append
// returns. It is safe for concurrent use, and one process has it: the file beside it, with .lock behind its name, is locked.
type Journal struct {
	path  string
	owner header

	mutex sync.Mutex
	lock  *os.File
	file  *os.File
	size  int64
	// entries are those of the file, in its order; stale ones among them until it is written anew.
	entries []Entry
	signed  map[signature]time.Time
	broken  bool
}

// staleEntries is how many entries that no longer count a file holds before it is written anew.
const staleEntries = 1000

// OpenJournal opens the journal of owner at path, and creates it where there is none. A last line that a crash tore is dropped: its
// signature never left. Anything else that cannot be read, or is another wallet's, is an error: it may have counted.
func OpenJournal(path string, owner keys.Public, now time.Time) (*Journal, error) {
	j := &Journal{
		path: path, signed: map[signature]time.Time{},
		owner: header{Version: 1, Network: owner.Network, MasterFingerprint: owner.MasterFingerprint, XpubVanilla: owner.XpubVanilla},
	}
	var err error
	if j.lock, err = os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("opening the journal's lock: %w", err)
	}
	if err := syscall.Flock(int(j.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another process has the journal; a wallet has one signer"), j.lock.Close())
	}
	if err := j.load(now); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// load reads the file, and writes it anew without what no longer counts.
func (j *Journal) load(now time.Time) error {
	file, err := os.Open(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return j.rewrite(now)
	}
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	reader := bufio.NewReader(file)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) && number == 1 {
			return errNoJournal // a journal gets its first line before its name
		}
		if errors.Is(err, io.EOF) {
			// What is left has no end: it was being written when the process died, before its signature left.
			return j.rewrite(now)
		}
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if err := j.read(number, line); err != nil {
			return err
		}
	}
}

func (j *Journal) read(number int, line []byte) error {
	if number == 1 {
		var found header
		if err := strict(line, &found); err != nil {
			return errNoJournal
		}
		if found != j.owner {
			return errors.New("the journal is of another wallet, network or version: give each signer its own")
		}
		return nil
	}
	var entry Entry
	if err := strict(line, &entry); err != nil || entry.Txid == "" || entry.OutflowSats < 0 || entry.OutflowSats > amount.MaxSat {
		return fmt.Errorf("line %d of the journal cannot be read, so what it counted is not known: restore the file, or remove it 24 hours after "+
			"the last signature", number)
	}
	j.remember(entry)
	return nil
}

func strict(line []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func (j *Journal) remember(entry Entry) {
	j.entries = append(j.entries, entry)
	key := signature{entry.Txid, entry.OutflowSats}
	if at, ok := j.signed[key]; !ok || entry.At.After(at) {
		j.signed[key] = entry.At
	}
}

// counts tells whether what was signed at an instant counts now. What seems to be of the future does: a clock was set back.
func counts(at, now time.Time) bool { return now.Sub(at) < Window }

// rewrite puts a file with the entries that count in place of the one there is.
func (j *Journal) rewrite(now time.Time) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	if err := encoder.Encode(j.owner); err != nil {
		return err
	}
	kept := []Entry{}
	for _, entry := range j.entries {
		if counts(entry.At, now) {
			kept = append(kept, entry)
			if err := encoder.Encode(entry); err != nil {
				return err
			}
		}
	}
	fresh, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	_, err = fresh.Write(text.Bytes())
	if err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(j.path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the journal: %w", err), fresh.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // everything in it is in the new one
	}
	j.file, j.size, j.entries, j.signed = fresh, int64(text.Len()), nil, map[signature]time.Time{}
	for _, entry := range kept {
		j.remember(entry)
	}
	return nil
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Signed tells whether the transaction, with this outflow, was signed within the last 24 hours, and when.
func (j *Journal) Signed(txid string, outflow amount.Sat, now time.Time) (time.Time, bool) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	at, ok := j.signed[signature{txid, outflow}]
	return at, ok && counts(at, now)
}

// SpentSats is what left the wallet within the last 24 hours by what was signed, paid or not.
func (j *Journal) SpentSats(now time.Time) amount.Sat {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	var sum amount.Sat
	for _, entry := range j.entries {
		if counts(entry.At, now) {
			sum = min(sum+entry.OutflowSats, amount.MaxSat) // so that it cannot overflow
		}
	}
	return sum
}

// Append writes entry down. When it returns nil the entry is on the disk; else it is not in the journal, and the signature must not leave.
func (j *Journal) Append(entry Entry) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.broken || j.file == nil {
		return ErrJournal
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	_, err = j.file.Write(line)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// A line that is half there would spoil the next one. After an fsync that failed nobody knows what is on the disk: nothing more
		// is signed until a restart has read it.
		j.broken = true
		_ = j.file.Truncate(j.size) // where this fails too, the next start drops the torn line
		return errors.Join(ErrJournal, err)
	}
	j.size += int64(len(line))
	j.remember(entry)
	j.tidy(entry.At)
	return nil
}

// tidy writes the file anew where most of it no longer counts. The entry that was appended is safe already, so a failure costs nothing but
// space.
func (j *Journal) tidy(now time.Time) {
	stale := 0
	for stale < len(j.entries) && !counts(j.entries[stale].At, now) {
		stale++
	}
	if stale < staleEntries {
		return
	}
	// The old file stays in use where the new one could not be made; where it was put in place and then failed, only a restart knows.
	if err := j.rewrite(now); err != nil {
		j.broken = true
	}
}

// Healthy tells whether something new can be written.
func (j *Journal) Healthy() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return !j.broken && j.file != nil
}

// Close gives the journal up.
func (j *Journal) Close() error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	var err error
	if j.file != nil {
		err, j.file = j.file.Close(), nil
	}
	return errors.Join(err, j.lock.Close()) // which frees it
}
