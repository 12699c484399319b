package keys

import (
	"errors"
	"strings"
	"testing"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// checkRefused holds that err is an *Error which tells nothing of what was given. What is short may be part of any message.
func checkRefused(t *testing.T, err error, given ...string) {
	t.Helper()
	refused, ok := errors.AsType[*Error](err)
	if !ok || refused.Reason == "" || refused.Field == "" || len(refused.Error()) > 512 {
		t.Fatalf("not a typed error: %v", err)
	}
	for _, text := range given {
		for _, word := range strings.Fields(text) {
			if len(word) > 12 && strings.Contains(refused.Error(), word) {
				t.Fatalf("%q is told by %q", word, refused.Error())
			}
		}
	}
}

// FuzzMnemonic holds that a text is a mnemonic of one wallet however its words are spaced, or is refused without being shown.
func FuzzMnemonic(f *testing.F) {
	f.Add(guide, "")
	f.Add(abandon, "TREZOR")
	f.Add(strings.ReplaceAll(guide, " ", "\n"), "")
	f.Add(strings.ToUpper(guide), "")
	f.Add(strings.TrimSuffix(guide, " relax"), "")
	f.Add(guide+" "+guide, "")
	f.Add(abandon+" ", "a line break\n")
	f.Add("", "\xff")
	f.Fuzz(func(t *testing.T, mnemonic, passphrase string) {
		set, err := FromMnemonic(mnemonic, passphrase, bitcoin.Regtest)
		if err != nil {
			checkRefused(t, err, mnemonic, passphrase)
			return
		}
		words := strings.Fields(mnemonic)
		again, err := FromMnemonic(strings.Join(words, "\n "), passphrase, bitcoin.Regtest)
		if err != nil || again.Public() != set.Public() {
			t.Fatalf("the same words are of another wallet: %v", err)
		}
		public := set.Public()
		if read, err := ParsePublic(public.Network, public.XpubVanilla, public.XpubColored, public.MasterFingerprint); err != nil || read != public {
			t.Fatalf("the public half %+v is read as %+v, %v", public, read, err)
		}
		if len(words)%3 != 0 || public.XpubVanilla == public.XpubColored {
			t.Fatalf("%d words make %+v", len(words), public)
		}
	})
}

// FuzzAccountKeys holds the same of extended keys, private and public: a private one is never taken for a public one, nor the other way
// round, and never shown.
func FuzzAccountKeys(f *testing.F) {
	for _, wallet := range wallets(f) {
		f.Add(wallet.VanillaXprv, wallet.ColoredXprv, wallet.MasterFingerprint)
		f.Add(wallet.VanillaXpub, wallet.ColoredXpub, wallet.MasterFingerprint)
		f.Add(wallet.VanillaXprv, wallet.VanillaXprv, "")
		f.Add(wallet.MasterXprv, wallet.ColoredXpub+"\n", strings.ToUpper(wallet.MasterFingerprint))
	}
	networks := []bitcoin.Network{bitcoin.Mainnet, bitcoin.Testnet, bitcoin.Signet, bitcoin.Regtest, "utexo"}
	f.Fuzz(func(t *testing.T, vanilla, colored, fingerprint string) {
		for _, network := range networks {
			set, err := FromAccountKeys(vanilla, colored, fingerprint, network)
			if err != nil {
				checkRefused(t, err, vanilla, colored)
			}
			public, publicErr := ParsePublic(network, vanilla, colored, fingerprint)
			if publicErr != nil {
				checkRefused(t, publicErr, vanilla, colored)
			}
			if err == nil && publicErr == nil {
				t.Fatal("private keys are public ones")
			}
			if err == nil {
				public = set.Public()
			} else if publicErr != nil {
				continue
			}
			if _, err := public.Deriver(); err != nil || strings.Contains(public.XpubVanilla+public.XpubColored, "prv") {
				t.Fatalf("the public half %+v: %v", public, err)
			}
		}
	})
}

// FuzzPath holds that the steps of a PSBT lead to a key of the wallet's two accounts, or to none.
func FuzzPath(f *testing.F) {
	f.Add(uint8(5), uint32(86+hardened), uint32(1+hardened), uint32(hardened), uint32(0), uint32(7))
	f.Add(uint8(5), uint32(86+hardened), uint32(827167+hardened), uint32(hardened), uint32(1), uint32(hardened))
	f.Add(uint8(4), uint32(86+hardened), uint32(827166+hardened), uint32(hardened), uint32(1), uint32(0))
	f.Fuzz(func(t *testing.T, length uint8, a, b, c, d, e uint32) {
		steps := []uint32{a, b, c, d, e, 0}[:length%7]
		for _, network := range []bitcoin.Network{bitcoin.Mainnet, bitcoin.Testnet, bitcoin.Signet, bitcoin.Regtest} {
			path, ok := ParsePath(network, steps)
			if !ok {
				continue
			}
			again, ok := ParsePath(network, path.Steps())
			if !ok || again != path || len(steps) != 5 || d > 1 || e >= hardened || path.Network != network {
				t.Fatalf("%v is %s on %s", steps, path, network)
			}
		}
	})
}
