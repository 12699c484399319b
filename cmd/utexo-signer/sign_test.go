package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// vectorsOf reads the vectors, and writes the mnemonic of one into a directory of keys.
func vectorsOf(t *testing.T, name string) (v vector, keys string) {
	t.Helper()
	var file struct{ Cases []vector }
	text, err := os.ReadFile("../../internal/psbtcheck/testdata/psbt-cases.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range file.Cases {
		if one.Name == name {
			v = one
		}
	}
	keys = t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "mnemonic"), []byte(v.Mnemonic+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return v, keys
}

// TestSign signs a vector as the official signer did, from a file and from the standard input, and shows what it signs.
func TestSign(t *testing.T) {
	v, keys := vectorsOf(t, small)
	file := filepath.Join(t.TempDir(), "unsigned.psbt")
	if err := os.WriteFile(file, []byte(v.UnsignedPSBT+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		more  []string
		stdin string
		want  string
	}{
		"from the standard input": {nil, v.UnsignedPSBT + "\n", v.SignedPSBT + "\n"},
		"from a file":             {[]string{"--psbt", file}, "", v.SignedPSBT + "\n"},
		"a dry run":               {[]string{"--dry-run"}, v.UnsignedPSBT, ""},
		"an on-chain send":        {[]string{"--onchain", "--fee-rate=5"}, v.UnsignedPSBT, v.SignedPSBT + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"--network=regtest", "--keys-dir", keys, "--amount-sats=100000", "--max-fee-sats=426"}, tc.more...)
			if err := sign(t.Context(), args, strings.NewReader(tc.stdin), &stdout, &stderr); err != nil {
				t.Fatal(err)
			}
			if stdout.String() != tc.want {
				t.Errorf("it writes %q, want %q", stdout.String(), tc.want)
			}
			for _, text := range []string{"100426 sat leave the wallet", "426 sat are its fee", "100000 sat go to bcrt1"} {
				if !strings.Contains(stderr.String(), text) {
					t.Errorf("it does not say %q: %s", text, stderr.String())
				}
			}
			for _, text := range []string{"colored", "OP_RETURN", "not proved", "units"} {
				if strings.Contains(stderr.String(), text) {
					t.Errorf("it says %q of a transaction that has nothing to do with assets: %s", text, stderr.String())
				}
			}
			if tc.want == "" {
				return
			}
			if err := signer.Verify(v.UnsignedPSBT, strings.TrimSpace(stdout.String())); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSignColoredCoins signs what spends colored coins where it is proved that their assets go as the flags say, or where a flag does without
// the proof; and shows in each case what can be known of assets.
func TestSignColoredCoins(t *testing.T) {
	var file struct {
		Cases []struct{ PSBT, Mnemonic, Contract string }
	}
	text, err := os.ReadFile("../../internal/rgb/transition/testdata/rgb-psbts.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	v, keys := file.Cases[0], t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "mnemonic"), []byte(v.Mnemonic), 0o600); err != nil {
		t.Fatal(err)
	}
	hidden := testkit.WithoutTransitions(v.PSBT)
	const moves, doubt, burdened = "10 units of rgb:", "not proved: ", "it spends colored coins, and what becomes of the assets"
	for name, tc := range map[string]struct {
		psbt string
		more []string
		// refused is a part of the error; empty where it is signed.
		refused string
		shows   []string
		silent  []string
	}{
		"a payment of bitcoin that hides a transfer": {hidden, nil, "for want of --allow-unproved-assets", []string{doubt + burdened}, []string{moves}},
		"a look at it":                                     {hidden, []string{"--dry-run"}, "for want of --allow-unproved-assets", []string{doubt + burdened}, nil},
		"one that need not be proved":                      {hidden, []string{"--allow-unproved-assets"}, "", []string{doubt + burdened}, []string{moves}},
		"a payment of bitcoin that shows a transfer":       {v.PSBT, []string{"--allow-unproved-assets"}, "where no asset was to move", []string{moves}, []string{doubt}},
		"a payment of an asset, which is proved":           {v.PSBT, []string{"--asset-id=" + v.Contract, "--asset-amount=10"}, "", []string{moves}, []string{doubt}},
		"a payment of less of it":                          {v.PSBT, []string{"--asset-id=" + v.Contract, "--asset-amount=9"}, "instead of 9", []string{moves}, nil},
		"a payment of an asset that hides the transfer":    {hidden, []string{"--asset-id=" + v.Contract, "--asset-amount=10"}, "for want of", []string{doubt}, nil},
		"a send of bitcoin, which never spends such coins": {hidden, []string{"--onchain", "--allow-unproved-assets"}, "colored coins", []string{doubt}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"--network=testnet", "--keys-dir", keys, "--amount-sats=1", "--max-fee-sats=700"}, tc.more...)
			err := sign(t.Context(), args, strings.NewReader(tc.psbt), &stdout, &stderr)
			if tc.refused == "" {
				if err != nil {
					t.Error(err)
				} else if err := signer.Verify(tc.psbt, strings.TrimSpace(stdout.String())); err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.refused) || !strings.Contains(err.Error(), "nothing was signed") || stdout.Len() > 0 {
				t.Errorf("%v, want %q; it writes %q", err, tc.refused, stdout.String())
			}
			for _, text := range append(tc.shows, "1000 sat of colored coins are spent", "output 0 holds 0 sat and data", "script 6a20eb05c165") {
				if !strings.Contains(stderr.String(), text) {
					t.Errorf("it does not say %q: %s", text, stderr.String())
				}
			}
			for _, text := range tc.silent {
				if strings.Contains(stderr.String(), text) {
					t.Errorf("it says %q: %s", text, stderr.String())
				}
			}
		})
	}
}

// TestSignRefuses writes nothing where the flags do not allow what the PSBT does, or make no sense.
func TestSignRefuses(t *testing.T) {
	v, keys := vectorsOf(t, small)
	flags := func(more ...string) []string {
		return append([]string{"--network=regtest", "--keys-dir", keys, "--amount-sats=100000", "--max-fee-sats=426"}, more...)
	}
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		says  string
	}{
		"a sat less than it takes":    {flags("--max-fee-sats=425"), v.UnsignedPSBT, "nothing was signed"},
		"another transaction":         {flags("--txid", strings.Repeat("0", 64)), v.UnsignedPSBT, "another transaction"},
		"the keys of another network": {flags("--network=mainnet"), v.UnsignedPSBT, "PSBT refused"},
		"no PSBT":                     {flags(), "", "PSBT refused"},
		"a PSBT that is signed":       {flags(), v.SignedPSBT, "PSBT refused"},
		"a file that is not there":    {flags("--psbt", filepath.Join(keys, "none")), "", "reading the PSBT"},
		"no keys":                     {flags("--keys-dir", t.TempDir()), v.UnsignedPSBT, "cannot be used"},
		"no amount":                   {[]string{"--network=regtest", "--keys-dir", keys, "--max-fee-sats=426"}, v.UnsignedPSBT, "--amount-sats is required"},
		"a negative amount":           {flags("--amount-sats=-1"), v.UnsignedPSBT, "from 0"},
		"no network that there is":    {flags("--network=moon"), v.UnsignedPSBT, "--network is"},
		"half an asset":               {flags("--asset-id=rgb:x"), v.UnsignedPSBT, "belong together"},
		"an asset to nobody":          {flags("--onchain", "--asset-id=rgb:x", "--asset-amount=1"), v.UnsignedPSBT, "--rgb-invoice is required"},
		"an asset that is not proved": {flags("--asset-id=rgb:x", "--asset-amount=1"), v.UnsignedPSBT, "nothing was signed"},
		"an argument":                 {flags("now"), v.UnsignedPSBT, "everything is a flag"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := sign(t.Context(), tc.args, strings.NewReader(tc.stdin), &stdout, &stderr)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q", err, tc.says)
			}
			if stdout.Len() > 0 {
				t.Errorf("it writes %q", stdout.String())
			}
			for _, word := range strings.Fields(v.Mnemonic)[:3] {
				if err != nil && strings.Contains(err.Error(), word) || strings.Contains(stderr.String(), " "+word+" ") {
					t.Errorf("it shows the mnemonic: %v %s", err, stderr.String())
				}
			}
		})
	}
}
