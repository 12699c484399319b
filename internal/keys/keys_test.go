package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

const (
	guide   = "split capable text loop dream live outside suspect eight carry fine relax"
	abandon = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
)

type walletVector struct {
	Name              string          `json:"name"`
	Network           bitcoin.Network `json:"network"`
	Mnemonic          string          `json:"mnemonic"`
	SeedHex           string          `json:"seed_hex"`
	MasterXprv        string          `json:"master_xprv"`
	MasterXpub        string          `json:"master_xpub"`
	MasterFingerprint string          `json:"master_fingerprint"`
	VanillaPath       string          `json:"vanilla_path"`
	VanillaXprv       string          `json:"vanilla_xprv"`
	VanillaXpub       string          `json:"vanilla_xpub"`
	ColoredPath       string          `json:"colored_path"`
	ColoredXprv       string          `json:"colored_xprv"`
	ColoredXpub       string          `json:"colored_xpub"`
	Addresses         []addressVector `json:"addresses"`
}

type addressVector struct {
	Account     Account `json:"account"`
	Address     string  `json:"address"`
	Keychain    uint32  `json:"keychain"`
	Index       uint32  `json:"index"`
	InternalKey string  `json:"internal_key"`
	OutputKey   string  `json:"output_key"`
	Path        string  `json:"path"`
	Script      string  `json:"script_pubkey"`
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func wallets(t testing.TB) []walletVector {
	t.Helper()
	var file struct {
		Wallets []walletVector `json:"wallets"`
	}
	readJSON(t, "keys.json", &file)
	if len(file.Wallets) == 0 {
		t.Fatal("no wallets in keys.json")
	}
	return file.Wallets
}

func TestWalletVectors(t *testing.T) {
	for _, w := range wallets(t) {
		t.Run(w.Name+" on "+string(w.Network), func(t *testing.T) {
			params, err := w.Network.Params()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := seed(w.Mnemonic, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(raw); got != w.SeedHex {
				t.Errorf("seed %s, want %s", got, w.SeedHex)
			}
			master, err := hdkeychain.NewMaster(raw, params)
			if err != nil {
				t.Fatal(err)
			}
			if master.String() != w.MasterXprv {
				t.Errorf("another master key")
			}
			masterPublic, err := master.Neuter()
			if err != nil {
				t.Fatal(err)
			}
			if masterPublic.String() != w.MasterXpub {
				t.Errorf("another master public key")
			}
			for _, account := range []struct{ name, path, xprv string }{
				{string(Vanilla), w.VanillaPath, w.VanillaXprv}, {string(Colored), w.ColoredPath, w.ColoredXprv},
			} {
				path := Path{Network: w.Network, Account: Account(account.name)}
				if want := account.path + "/0/0"; path.String() != want {
					t.Errorf("%s path %s, want %s", account.name, path, want)
				}
				derived, err := derive(master, path.Steps()[:3]...)
				if err != nil {
					t.Fatal(err)
				}
				if derived.String() != account.xprv {
					t.Errorf("another %s account key", account.name)
				}
			}

			want := Public{Network: w.Network, XpubVanilla: w.VanillaXpub, XpubColored: w.ColoredXpub, MasterFingerprint: w.MasterFingerprint}
			set, err := FromMnemonic(w.Mnemonic, "", w.Network)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, set.Public()); diff != "" {
				t.Errorf("from the mnemonic (-want +got):\n%s", diff)
			}
			fromAccounts, err := FromAccountKeys(w.VanillaXprv, w.ColoredXprv+"\n", w.MasterFingerprint, w.Network)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, fromAccounts.Public()); diff != "" {
				t.Errorf("from the account keys (-want +got):\n%s", diff)
			}
			parsed, err := ParsePublic(w.Network, " "+w.VanillaXpub, w.ColoredXpub, w.MasterFingerprint)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, parsed); diff != "" {
				t.Errorf("from the public keys (-want +got):\n%s", diff)
			}

			deriver, err := parsed.Deriver()
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range w.Addresses {
				path := Path{Network: w.Network, Account: a.Account, Keychain: a.Keychain, Index: a.Index}
				if path.String() != a.Path {
					t.Errorf("path %s, want %s", path, a.Path)
				}
				child, err := deriver.Child(path)
				if err != nil {
					t.Fatal(err)
				}
				address, err := deriver.Address(path)
				if err != nil {
					t.Fatal(err)
				}
				got := addressVector{
					Account: a.Account, Address: address, Keychain: a.Keychain, Index: a.Index, Path: path.String(),
					InternalKey: hex.EncodeToString(child.InternalKey[:]), OutputKey: hex.EncodeToString(child.OutputKey[:]),
					Script: hex.EncodeToString(child.Script()),
				}
				if diff := cmp.Diff(a, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", a.Path, diff)
				}
				if found, ok := deriver.Find(child.Script()); !ok || found != path {
					t.Errorf("%s is found at %s (%v)", a.Path, found, ok)
				}
				// Both sets sign for the output key, with the same bytes.
				digest := sha256.Sum256([]byte(a.Path))
				key, err := schnorr.ParsePubKey(child.OutputKey[:])
				if err != nil {
					t.Fatal(err)
				}
				first, err := set.SignTaproot(path, digest)
				if err != nil {
					t.Fatal(err)
				}
				second, err := fromAccounts.SignTaproot(path, digest)
				if err != nil {
					t.Fatal(err)
				}
				signature, err := schnorr.ParseSignature(first[:])
				if err != nil {
					t.Fatal(err)
				}
				if !signature.Verify(digest[:], key) || first != second {
					t.Errorf("%s: signatures do not verify or differ", a.Path)
				}
			}
		})
	}
}

func TestWindow(t *testing.T) {
	set, err := FromMnemonic(guide, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	deriver, err := set.Public().Deriver()
	if err != nil {
		t.Fatal(err)
	}
	other, err := FromMnemonic(abandon, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Public().Deriver()
	if err != nil {
		t.Fatal(err)
	}
	script := func(d *Deriver, path Path) []byte {
		t.Helper()
		child, err := d.Child(path)
		if err != nil {
			t.Fatal(err)
		}
		return child.Script()
	}
	at := func(index uint32) Path {
		return Path{Network: bitcoin.Regtest, Account: Colored, Keychain: 1, Index: index}
	}
	for name, tc := range map[string]struct {
		script []byte
		want   bool
	}{
		"the first key of a keychain":               {script(deriver, at(0)), true},
		"the last key of the window":                {script(deriver, at(Window-1)), true},
		"the key after the window":                  {script(deriver, at(Window)), false},
		"a key of another wallet":                   {script(foreign, at(0)), false},
		"no script":                                 {nil, false},
		"an own key behind another witness version": {append([]byte{0x52}, script(deriver, at(0))[1:]...), false},
		"an own script with a byte more":            {append(script(deriver, at(0)), 0), false},
		"an own key that is pushed as 33 bytes":     {append([]byte{0x51, 0x21}, script(deriver, at(0))[2:]...), false},
		"an own internal key without the BIP 86 tweak": {func() []byte {
			child, err := deriver.Child(at(0))
			if err != nil {
				t.Fatal(err)
			}
			return append([]byte{0x51, 0x20}, child.InternalKey[:]...)
		}(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if path, ok := deriver.Find(tc.script); ok != tc.want {
				t.Errorf("found %v at %v, want %v", ok, path, tc.want)
			}
		})
	}
}

func TestDeriverIsShared(t *testing.T) {
	set, err := FromMnemonic(guide, "", bitcoin.Signet)
	if err != nil {
		t.Fatal(err)
	}
	const callers = 8
	got := make([]*Deriver, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			d, err := set.Public().Deriver()
			if err != nil {
				t.Error(err)
				return
			}
			d.Find(make([]byte, 34))
			got[i] = d
		})
	}
	wg.Wait()
	for _, d := range got {
		if d != got[0] {
			t.Fatal("two callers got two derivers of one wallet")
		}
	}
	for i := range maxDerivers + 10 { // other wallets push it out; the cache stays bounded
		public := set.Public()
		public.MasterFingerprint = fmt.Sprintf("%08x", i)
		if _, err := public.Deriver(); err != nil {
			t.Fatal(err)
		}
	}
	derivers.Lock()
	defer derivers.Unlock()
	if len(derivers.known) > maxDerivers {
		t.Errorf("%d derivers are kept, at most %d should be", len(derivers.known), maxDerivers)
	}
}

func TestSetShowsNothing(t *testing.T) {
	set, err := FromMnemonic(guide, "hunter2", bitcoin.Mainnet)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v", "%p"} {
		for name, value := range map[string]any{"pointer": set, "value": *set} {
			args := []any{value}
			if strings.Count(verb, "%") == 2 {
				args = append(args, value)
			}
			got := fmt.Sprintf(verb, args...)
			if !strings.HasSuffix(got, "[keys]") && verb != "%p" {
				t.Errorf("%s of a %s gives %q, want [keys]", verb, name, got)
			}
		}
	}
	if got := fmt.Sprintf("%+v", struct{ Keys *Set }{set}); strings.Contains(got, "prv") || strings.Contains(got, "pub") {
		t.Errorf("within a struct: %q", got)
	}
	for name, value := range map[string]any{"pointer": set, "value": *set, "in a map": map[string]any{"k": set}} {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(raw); got != `"[keys]"` && got != `{"k":"[keys]"}` {
			t.Errorf("JSON of a %s gives %s", name, got)
		}
	}
	// A printer that reads fields by reflection meets a function, not a key.
	for i := range reflect.TypeFor[Set]().NumField() {
		field := reflect.TypeFor[Set]().Field(i)
		if field.Type != reflect.TypeFor[Public]() && field.Type.Kind() != reflect.Func {
			t.Errorf("field %s is a %s: keep private keys out of reach of reflection", field.Name, field.Type)
		}
	}
}

func TestSignatureOfTheOfficialSigner(t *testing.T) {
	// The first coin of the base case in psbtcheck's vectors: its signature hash (BIP 341) and what the official SDK signs.
	digest, err := hex.DecodeString("f234777c31e39462acae67e2f593996465752337817b7ddfb6a1632c1cbf7b90")
	if err != nil {
		t.Fatal(err)
	}
	const want = "e67c2ca3dc0e995f49c78f7f3953b4f35a2ac560b122ba0541ccbfb3820d31c5b04b57c08a4af7065e778cf5f2c2d8035a3751014eb51d869a97a922d046ebda"
	set, err := FromMnemonic(guide, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	got, err := set.SignTaproot(Path{Network: bitcoin.Regtest, Account: Vanilla, Keychain: 1, Index: 5}, [32]byte(digest))
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("signature %x, want %s", got, want)
	}
}

func TestSignTaprootRefusesForeignPaths(t *testing.T) {
	set, err := FromMnemonic(guide, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	deriver, err := set.Public().Deriver()
	if err != nil {
		t.Fatal(err)
	}
	good := Path{Network: bitcoin.Regtest, Account: Vanilla, Keychain: 1, Index: 5}
	if _, err := set.SignTaproot(good, [32]byte{}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Path){
		"another network":  func(p *Path) { p.Network = bitcoin.Signet },
		"no account":       func(p *Path) { p.Account = "" },
		"a third keychain": func(p *Path) { p.Keychain = 2 },
		"a hardened index": func(p *Path) { p.Index = 1 << 31 },
	} {
		t.Run(name, func(t *testing.T) {
			path := good
			change(&path)
			var refused *Error
			if _, err := set.SignTaproot(path, [32]byte{}); !errors.As(err, &refused) || refused.Reason != UnusableKey {
				t.Errorf("signing: %v, want UnusableKey", err)
			}
			if _, err := deriver.Child(path); !errors.As(err, &refused) || refused.Reason != UnusableKey {
				t.Errorf("deriving: %v, want UnusableKey", err)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	const h = 1 << 31
	for name, tc := range map[string]struct {
		network bitcoin.Network
		steps   []uint32
		want    string
	}{
		"vanilla on regtest":               {bitcoin.Regtest, []uint32{86 + h, 1 + h, h, 1, 5}, "m/86'/1'/0'/1/5"},
		"colored on regtest":               {bitcoin.Regtest, []uint32{86 + h, 827167 + h, h, 0, 9}, "m/86'/827167'/0'/0/9"},
		"vanilla on mainnet":               {bitcoin.Mainnet, []uint32{86 + h, h, h, 0, h - 1}, "m/86'/0'/0'/0/2147483647"},
		"colored on mainnet":               {bitcoin.Mainnet, []uint32{86 + h, 827166 + h, h, 0, 0}, "m/86'/827166'/0'/0/0"},
		"mainnet's coin on regtest":        {bitcoin.Regtest, []uint32{86 + h, h, h, 0, 0}, ""},
		"the test coin on mainnet":         {bitcoin.Mainnet, []uint32{86 + h, 1 + h, h, 0, 0}, ""},
		"BIP 84":                           {bitcoin.Regtest, []uint32{84 + h, 1 + h, h, 0, 0}, ""},
		"purpose not hardened":             {bitcoin.Regtest, []uint32{86, 1 + h, h, 0, 0}, ""},
		"coin not hardened":                {bitcoin.Regtest, []uint32{86 + h, 1, h, 0, 0}, ""},
		"account not hardened":             {bitcoin.Regtest, []uint32{86 + h, 1 + h, 0, 0, 0}, ""},
		"account 1":                        {bitcoin.Regtest, []uint32{86 + h, 1 + h, 1 + h, 0, 0}, ""},
		"keychain 2":                       {bitcoin.Regtest, []uint32{86 + h, 1 + h, h, 2, 0}, ""},
		"hardened keychain":                {bitcoin.Regtest, []uint32{86 + h, 1 + h, h, h, 0}, ""},
		"hardened index":                   {bitcoin.Regtest, []uint32{86 + h, 1 + h, h, 0, h}, ""},
		"the account itself":               {bitcoin.Regtest, []uint32{86 + h, 1 + h, h}, ""},
		"a step too many":                  {bitcoin.Regtest, []uint32{86 + h, 1 + h, h, 0, 0, 0}, ""},
		"no steps":                         {bitcoin.Regtest, nil, ""},
		"a sum that would overflow to 86'": {bitcoin.Regtest, []uint32{86, 1 + h, h, 0, 0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path, ok := ParsePath(tc.network, tc.steps)
			if ok != (tc.want != "") {
				t.Fatalf("accepted is %v", ok)
			}
			if !ok {
				return
			}
			if path.String() != tc.want {
				t.Errorf("path %s, want %s", path, tc.want)
			}
			if diff := cmp.Diff(tc.steps, path.Steps()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusedKeys(t *testing.T) {
	main, test := wallets(t)[0], wallets(t)[1]
	seedKey, err := hdkeychain.NewMaster(make([]byte, 32), mustParams(t, bitcoin.Testnet))
	if err != nil {
		t.Fatal(err)
	}
	private := func(steps ...uint32) string {
		t.Helper()
		key, err := derive(seedKey, steps...)
		if err != nil {
			t.Fatal(err)
		}
		return key.String()
	}
	public := func(steps ...uint32) string {
		t.Helper()
		key, err := derive(seedKey, steps...)
		if err != nil {
			t.Fatal(err)
		}
		xpub, err := key.Neuter()
		if err != nil {
			t.Fatal(err)
		}
		return xpub.String()
	}
	// NewKeyFromString tells private from public by the first key byte, not by the version: cross the two.
	crossed := func() string {
		t.Helper()
		key, err := derive(seedKey, 86+hardened, 1+hardened, hardened)
		if err != nil {
			t.Fatal(err)
		}
		params := mustParams(t, bitcoin.Testnet)
		clone, err := key.CloneWithVersion(params.HDPublicKeyID[:])
		if err != nil {
			t.Fatal(err)
		}
		return clone.String()
	}
	const fp = "1f5bd7df"
	type input struct {
		network              bitcoin.Network
		vanilla, colored, fp string
	}
	good := func(private bool) input {
		if private {
			return input{bitcoin.Testnet, test.VanillaXprv, test.ColoredXprv, fp}
		}
		return input{bitcoin.Testnet, test.VanillaXpub, test.ColoredXpub, fp}
	}
	mistyped := func(key string) string { return key[:50] + "11" + key[52:] }
	for name, tc := range map[string]struct {
		private bool
		change  func(*input)
		want    Reason
		field   string
	}{
		"an unknown network":                       {true, func(i *input) { i.network = "utexo" }, UnknownNetwork, "network"},
		"no network":                               {false, func(i *input) { i.network = "" }, UnknownNetwork, "network"},
		"a fingerprint in upper case":              {true, func(i *input) { i.fp = "1F5BD7DF" }, BadFingerprint, "master fingerprint"},
		"a fingerprint of six digits":              {false, func(i *input) { i.fp = "1f5bd7" }, BadFingerprint, "master fingerprint"},
		"a fingerprint with a line break":          {false, func(i *input) { i.fp = "1f5bd7df\n" }, BadFingerprint, "master fingerprint"},
		"a public key where a private is needed":   {true, func(i *input) { i.vanilla = test.VanillaXpub }, NotPrivate, "vanilla account key"},
		"a private key where a public one belongs": {false, func(i *input) { i.colored = test.ColoredXprv }, NotPublic, "colored account key"},
		"a mainnet key on testnet":                 {true, func(i *input) { i.vanilla = main.VanillaXprv }, WrongNetwork, "vanilla account key"},
		"a mainnet public key on testnet":          {false, func(i *input) { i.colored = main.ColoredXpub }, WrongNetwork, "colored account key"},
		"a test key on mainnet":                    {true, func(i *input) { i.network = bitcoin.Mainnet }, WrongNetwork, "vanilla account key"},
		"a private key under a public version":     {true, func(i *input) { i.vanilla = crossed() }, WrongNetwork, "vanilla account key"},
		"a private key dressed as a public one":    {false, func(i *input) { i.vanilla = crossed() }, NotPublic, "vanilla account key"},
		"the master key":                           {true, func(i *input) { i.vanilla = test.MasterXprv }, NotAnAccount, "vanilla account key"},
		"the master public key":                    {false, func(i *input) { i.vanilla = test.MasterXpub }, NotAnAccount, "vanilla account key"},
		"a keychain's key":                         {true, func(i *input) { i.colored = private(86+hardened, 1+hardened, hardened, 0) }, NotAnAccount, "colored account key"},
		"child 0' of the master key":               {true, func(i *input) { i.vanilla = private(hardened) }, NotAnAccount, "vanilla account key"},
		"child 0' of the account":                  {false, func(i *input) { i.vanilla = public(86+hardened, 1+hardened, hardened, hardened) }, NotAnAccount, "vanilla account key"},
		"account 1":                                {true, func(i *input) { i.vanilla = private(86+hardened, 1+hardened, 1+hardened) }, NotAnAccount, "vanilla account key"},
		"an account that is not hardened":          {false, func(i *input) { i.vanilla = public(86+hardened, 1+hardened, 0) }, NotAnAccount, "vanilla account key"},
		"one key for both accounts":                {true, func(i *input) { i.colored = i.vanilla }, SameKey, "colored account key"},
		"one public key for both accounts":         {false, func(i *input) { i.colored = i.vanilla + " " }, SameKey, "colored account key"},
		"no key":                                   {true, func(i *input) { i.vanilla = "" }, BadExtendedKey, "vanilla account key"},
		"a mistyped key":                           {true, func(i *input) { i.colored = mistyped(i.colored) }, BadExtendedKey, "colored account key"},
		"a mnemonic for a key":                     {true, func(i *input) { i.vanilla = guide }, BadExtendedKey, "vanilla account key"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good(tc.private)
			tc.change(&in)
			var err error
			if tc.private {
				_, err = FromAccountKeys(in.vanilla, in.colored, in.fp, in.network)
			} else {
				_, err = ParsePublic(in.network, in.vanilla, in.colored, in.fp)
			}
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("%v is no *Error", err)
			}
			if refused.Reason != tc.want || refused.Field != tc.field {
				t.Errorf("%s: %s, want %s: %s", refused.Field, refused.Reason, tc.field, tc.want)
			}
			for _, secret := range append(strings.Fields(in.vanilla), in.colored) {
				if len(secret) > 3 && strings.Contains(err.Error(), secret) {
					t.Errorf("%q quotes the key", err)
				}
			}
		})
	}
	for _, private := range []bool{true, false} { // the unchanged input is accepted
		in := good(private)
		if _, err := parseAccounts(in.network, in.vanilla, in.colored, in.fp, private); err != nil {
			t.Errorf("private is %v: %v", private, err)
		}
	}
}

func TestLongKeysAreNotDecoded(t *testing.T) {
	xpub := wallets(t)[1].ColoredXpub
	_, err := ParsePublic(bitcoin.Testnet, strings.Repeat("z", 1<<20), xpub, "1f5bd7df") // base 58 takes seconds for it
	if err == nil || !strings.Contains(err.Error(), "longer than an extended key") {
		t.Errorf("%v, want a refusal of its length", err)
	}
}

func TestDeriverRefusesBrokenPublic(t *testing.T) {
	var refused *Error
	if _, err := (Public{Network: bitcoin.Regtest}).Deriver(); !errors.As(err, &refused) {
		t.Errorf("%v is no *Error", err)
	}
	if fp := (Public{MasterFingerprint: "zz"}).Fingerprint(); fp != [4]byte{} {
		t.Errorf("fingerprint %x of no fingerprint", fp)
	}
	if fp := (Public{MasterFingerprint: "1f5bd7df"}).Fingerprint(); fp != [4]byte{0x1f, 0x5b, 0xd7, 0xdf} {
		t.Errorf("fingerprint %x", fp)
	}
}

// TestFromSecret reads both forms of a Secret, as people write them.
func TestFromSecret(t *testing.T) {
	const words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
	plain, err := FromMnemonic(words, "", bitcoin.Mainnet)
	if err != nil {
		t.Fatal(err)
	}
	protected, err := FromMnemonic(words, "TREZOR", bitcoin.Mainnet)
	if err != nil {
		t.Fatal(err)
	}
	const (
		vanilla = "xprv9xgqHN7yz9MwCkxsBPN5qetuNdQSUttZNKw1dcYTV4mkaAFiBVGQziHs3NRSWMkCzvgjEe3n9xV8oYywvM8at9yRqyaZVz6TYYhX98VjsUk"
		colored = "xprv9yPfp9j1goyyCPXAakggzv5t6DDYQyfaPssXeV6vMhDT5a5sRPDw3u9TUEDRwxFkSx3mt8pehGC6nbWPFL16o85gjE8ynhDwzjZHFjhy33N"
	)
	for name, tc := range map[string]struct {
		data map[string][]byte
		want Public
		// reason of the refusal; empty where it is read.
		reason Reason
	}{
		"a mnemonic over lines": {data: map[string][]byte{"mnemonic": []byte("  " + strings.Replace(words, " ", "\n", 3) + "\n")}, want: plain.Public()},
		"a mnemonic with a passphrase": {
			data: map[string][]byte{"mnemonic": []byte(words), "passphrase": []byte("TREZOR")}, want: protected.Public(),
		},
		"account keys": {data: map[string][]byte{
			"xprvVanilla": []byte(vanilla + "\n"), "xprvColored": []byte(colored), "masterFingerprint": []byte("73c5da0a\n"),
		}, want: plain.Public()},
		"nothing":                      {reason: Missing},
		"account keys, but one":        {data: map[string][]byte{"xprvVanilla": []byte(vanilla), "masterFingerprint": []byte("73c5da0a")}, reason: Missing},
		"account keys, one being void": {data: map[string][]byte{"xprvVanilla": []byte(vanilla), "xprvColored": []byte(" \n"), "masterFingerprint": []byte("73c5da0a")}, reason: Missing},
		"an empty mnemonic":            {data: map[string][]byte{"mnemonic": nil}, reason: WrongWordCount},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := FromSecret(tc.data, bitcoin.Mainnet)
			if tc.reason == "" {
				if err != nil || set.Public() != tc.want {
					t.Errorf("%v, or other keys", err)
				}
				return
			}
			refused, ok := errors.AsType[*Error](err)
			if set != nil || !ok || refused.Reason != tc.reason {
				t.Errorf("%v, want %s", err, tc.reason)
			}
		})
	}
}
