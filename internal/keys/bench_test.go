package keys

import (
	"testing"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

func BenchmarkFromMnemonic(b *testing.B) {
	for b.Loop() {
		if _, err := FromMnemonic(guide, "", bitcoin.Regtest); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChild(b *testing.B) {
	d := benchmarkDeriver(b)
	path := Path{Network: bitcoin.Regtest, Account: Vanilla, Index: Window} // no index below is derived twice
	for b.Loop() {
		if _, err := d.Child(path); err != nil {
			b.Fatal(err)
		}
		path.Index++
	}
}

func BenchmarkWindow(b *testing.B) {
	public := benchmarkDeriver(b).Public()
	for b.Loop() {
		d, err := NewDeriver(public)
		if err != nil {
			b.Fatal(err)
		}
		if n := len(d.makeWindow()); n != 2*Keychains*Window {
			b.Fatal(n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	d := benchmarkDeriver(b)
	child, err := d.Child(Path{Network: bitcoin.Regtest, Account: Colored, Keychain: 1, Index: 7})
	if err != nil {
		b.Fatal(err)
	}
	script := child.Script()
	d.Find(script)
	for b.Loop() {
		if _, ok := d.Find(script); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkSignTaproot(b *testing.B) {
	set, err := FromMnemonic(guide, "", bitcoin.Regtest)
	if err != nil {
		b.Fatal(err)
	}
	path := Path{Network: bitcoin.Regtest, Account: Vanilla}
	for b.Loop() {
		if _, err := set.SignTaproot(path, [32]byte{1}); err != nil {
			b.Fatal(err)
		}
		path.Index++
	}
}

func benchmarkDeriver(b *testing.B) *Deriver {
	b.Helper()
	set, err := FromMnemonic(guide, "", bitcoin.Regtest)
	if err != nil {
		b.Fatal(err)
	}
	d, err := NewDeriver(set.Public())
	if err != nil {
		b.Fatal(err)
	}
	return d
}
