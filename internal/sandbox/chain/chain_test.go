package chain_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

var noon = time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)

// payee is a script that no test wallet owns: the BIP 341 point without a known secret key.
func payee(t *testing.T) []byte {
	t.Helper()
	key, err := schnorr.ParsePubKey([]byte{
		0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e,
		0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
	})
	if err != nil {
		t.Fatal(err)
	}
	script, err := txscript.PayToTaprootScript(key)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func newWallet(t *testing.T, keys *sandboxtest.Keys) (*chain.Chain, *chain.Wallet) {
	t.Helper()
	params, err := bitcoin.Regtest.Params()
	if err != nil {
		t.Fatal(err)
	}
	vanilla, err := chain.NewAccount(keys.XpubVanilla, keys.Fingerprint, bitcoin.Regtest.CoinType(), params)
	if err != nil {
		t.Fatal(err)
	}
	colored, err := chain.NewAccount(keys.XpubColored, keys.Fingerprint, bitcoin.Regtest.ColoredCoinType(), params)
	if err != nil {
		t.Fatal(err)
	}
	return chain.New(params), &chain.Wallet{Vanilla: vanilla, Colored: colored, Keychain: 1}
}

func fund(t *testing.T, c *chain.Chain, w *chain.Wallet, colored bool, value amount.Sat) {
	t.Helper()
	if _, err := w.Fund(c, colored, 1, value, noon); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, packet *psbt.Packet, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("building the PSBT: %v", err)
	}
	text, err := chain.Encode(packet)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPayMovesCoinsOnceSigned(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	c, w := newWallet(t, keys)
	if _, err := w.Fund(c, false, 2, 60_000, noon); err != nil {
		t.Fatal(err)
	}
	packet, err := w.Pay(c, []*wire.TxOut{wire.NewTxOut(100_000, payee(t))}, 5)
	unsigned := encode(t, packet, err)
	asked := packet.UnsignedTx.TxHash()
	signed, err := c.CheckSigned(keys.Sign(unsigned), asked)
	if err != nil || signed.Invalid != nil {
		t.Fatalf("CheckSigned: %v, %v; want a valid transaction", err, signed.Invalid)
	}
	// Two inputs, two outputs, all Taproot: 211.5 vB, so 212 at 5 sat/vB.
	if want := amount.Sat(212 * 5); signed.Fee != want {
		t.Errorf("fee %d, want %d", signed.Fee, want)
	}
	for range 2 { // the same transaction again is no second payment
		if txid, err := c.Submit(signed.Tx); err != nil || txid != asked {
			t.Fatalf("Submit: %v, %v; want %v", txid, err, asked)
		}
	}
	if confirmed, all := w.Vanilla.Balance(c); confirmed != 0 || all != 120_000-100_000-signed.Fee {
		t.Errorf("balance %d confirmed, %d in all; want 0 and %d", confirmed, all, 20_000-signed.Fee)
	}
	c.Mine(1, noon)
	if tx, ok := c.Tx(asked); !ok || tx.Height != c.Height() {
		t.Errorf("transaction at height %d, want %d", tx.Height, c.Height())
	}
	if again, err := c.CheckSigned(keys.Sign(unsigned), asked); err != nil || again.Invalid != nil {
		t.Errorf("the submitted PSBT again: %v, %v; want it accepted", err, again.Invalid)
	}
}

func TestSendAssetKeepsColoredValue(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	tests := map[string]struct {
		colored    amount.Sat
		wantInputs int
		wantFee    amount.Sat
	}{
		"a large colored coin pays its own fee":      {colored: 5_000, wantInputs: 1, wantFee: 5 * 154},
		"a small one leaves the fee to vanilla coin": {colored: 1_000, wantInputs: 2, wantFee: 5 * 255},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, w := newWallet(t, keys)
			fund(t, c, w, false, 50_000)
			fund(t, c, w, true, tc.colored)
			packet, err := w.SendAsset(c, [32]byte{7}, 5)
			unsigned := encode(t, packet, err)
			signed, err := c.CheckSigned(keys.Sign(unsigned), packet.UnsignedTx.TxHash())
			if err != nil || signed.Invalid != nil {
				t.Fatalf("CheckSigned: %v, %v; want a valid transaction", err, signed.Invalid)
			}
			if signed.Fee != tc.wantFee || len(signed.Tx.TxIn) != tc.wantInputs {
				t.Errorf("fee %d of %d inputs, want %d of %d", signed.Fee, len(signed.Tx.TxIn), tc.wantFee, tc.wantInputs)
			}
			if out := signed.Tx.TxOut[0]; !txscript.IsNullData(out.PkScript) || out.Value != 0 {
				t.Errorf("first output pays %d to %x, want an OP_RETURN without value", out.Value, out.PkScript)
			}
			if !w.Colored.Owns(signed.Tx.TxOut[1].PkScript) {
				t.Errorf("second output does not return to the colored account")
			}
		})
	}
}

func TestCheckSignedRefuses(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	stranger := sandboxtest.NewKeys(t, "stranger", bitcoin.Regtest)
	// edit changes the unsigned PSBT before it is signed, spoil the signed one.
	tests := map[string]struct {
		edit    func(*psbt.Packet)
		spoil   func(signed string) string
		wantErr error // no transaction
		want    error // an invalid one
	}{
		"text that is no base64":       {spoil: func(string) string { return "%" }, wantErr: chain.ErrEncoding},
		"base64 that is no PSBT":       {spoil: func(string) string { return "AAAA" }, wantErr: chain.ErrEncoding},
		"bytes after the PSBT":         {spoil: trailing, wantErr: chain.ErrEncoding},
		"an unsigned PSBT":             {spoil: unsign(keys), wantErr: chain.ErrNotFinalizable},
		"a PSBT that a stranger signs": {spoil: func(s string) string { return stranger.Sign(unsign(keys)(s)) }, wantErr: chain.ErrNotFinalizable},
		"a flipped bit":                {spoil: keys.Spoil, want: chain.ErrScript},
		"another output value":         {edit: func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].Value++ }, want: chain.ErrOtherTransaction},
		// A signature over what the PSBT claims of the coin is worthless: the chain judges by its own coin.
		"a false amount of the coin": {edit: func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo.Value++ }, want: chain.ErrScript},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, w := newWallet(t, keys)
			fund(t, c, w, false, 200_000)
			packet, err := w.Pay(c, []*wire.TxOut{wire.NewTxOut(100_000, payee(t))}, 5)
			if err != nil {
				t.Fatal(err)
			}
			asked := packet.UnsignedTx.TxHash()
			if tc.edit != nil {
				tc.edit(packet)
			}
			text := keys.Sign(encode(t, packet, nil))
			if tc.spoil != nil {
				text = tc.spoil(text)
			}
			signed, err := c.CheckSigned(text, asked)
			if !errors.Is(err, tc.wantErr) || !errors.Is(signed.Invalid, tc.want) {
				t.Errorf("got %v, %v; want %v, %v", err, signed.Invalid, tc.wantErr, tc.want)
			}
		})
	}
}

func trailing(signed string) string {
	raw, _ := base64.StdEncoding.DecodeString(signed)
	return base64.StdEncoding.EncodeToString(append(raw, 0))
}

func unsign(keys *sandboxtest.Keys) func(string) string {
	return func(signed string) string {
		packet := keys.Decode(signed)
		for i := range packet.Inputs {
			packet.Inputs[i].FinalScriptWitness = nil
		}
		return keys.Encode(packet)
	}
}

func TestVerifyRefuses(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	tests := map[string]struct {
		edit func(*psbt.Packet)
		want error
	}{
		"a coin that never was":     {func(p *psbt.Packet) { p.UnsignedTx.TxIn[0].PreviousOutPoint.Hash = chainhash.Hash{1} }, chain.ErrUnknownCoin},
		"dust":                      {func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].Value = 329 }, chain.ErrDust},
		"more out than in":          {func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].Value = 300_000 }, chain.ErrValue},
		"a negative output":         {func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].Value = -1 }, chain.ErrValue},
		"the same coin twice":       {func(p *psbt.Packet) { p.UnsignedTx.AddTxIn(p.UnsignedTx.TxIn[0]) }, chain.ErrDuplicateInput},
		"a script without witness":  {func(*psbt.Packet) {}, chain.ErrScript},
		"a transaction of no input": {func(p *psbt.Packet) { p.UnsignedTx.TxIn = nil }, chain.ErrValue},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, w := newWallet(t, keys)
			fund(t, c, w, false, 200_000)
			packet, err := w.Pay(c, []*wire.TxOut{wire.NewTxOut(100_000, payee(t))}, 5)
			if err != nil {
				t.Fatal(err)
			}
			tc.edit(packet)
			if _, err := c.Verify(packet.UnsignedTx); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDoubleSpendIsRefused(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	c, w := newWallet(t, keys)
	fund(t, c, w, false, 200_000)
	var txs []*wire.MsgTx
	for _, value := range []int64{50_000, 60_000} { // both begun before either is sent
		packet, err := w.Pay(c, []*wire.TxOut{wire.NewTxOut(value, payee(t))}, 5)
		signed, err := chain.ParseSigned(keys.Sign(encode(t, packet, err)))
		if err != nil {
			t.Fatal(err)
		}
		txs = append(txs, signed)
	}
	if _, err := c.Submit(txs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(txs[1]); !errors.Is(err, chain.ErrSpentCoin) {
		t.Errorf("second spend of the coin: %v, want %v", err, chain.ErrSpentCoin)
	}
}

func TestPayRefuses(t *testing.T) {
	keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	c, w := newWallet(t, keys)
	fund(t, c, w, false, 10_000)
	for value, want := range map[int64]error{329: chain.ErrDust, 9_900: chain.ErrInsufficient} {
		if _, err := w.Pay(c, []*wire.TxOut{wire.NewTxOut(value, payee(t))}, 5); !errors.Is(err, want) {
			t.Errorf("paying %d: %v, want %v", value, err, want)
		}
	}
	if _, err := w.SendAsset(c, [32]byte{}, 5); !errors.Is(err, chain.ErrInsufficient) {
		t.Errorf("sending an asset without a colored coin: %v, want %v", err, chain.ErrInsufficient)
	}
}

func TestSameCallsSameBytes(t *testing.T) {
	run := func() string {
		keys := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
		c, w := newWallet(t, keys)
		fund(t, c, w, false, 20_000)
		fund(t, c, w, true, 1_000)
		packet, err := w.SendAsset(c, [32]byte{1}, 5)
		text := encode(t, packet, err)
		blocks, err := json.Marshal(c.Mine(2, noon))
		if err != nil {
			t.Fatal(err)
		}
		return text + string(blocks)
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
}

func TestNewAccountRefuses(t *testing.T) {
	mainnet := sandboxtest.NewKeys(t, "payer", bitcoin.Mainnet)
	params, err := bitcoin.Regtest.Params()
	if err != nil {
		t.Fatal(err)
	}
	regtest := sandboxtest.NewKeys(t, "payer", bitcoin.Regtest)
	tests := map[string]struct {
		xpub, fingerprint string
		want              error
	}{
		"another network's key":       {mainnet.XpubVanilla, mainnet.Fingerprint, chain.ErrPublicKey},
		"text":                        {"tpub", regtest.Fingerprint, chain.ErrPublicKey},
		"a fingerprint of 6 digits":   {regtest.XpubVanilla, "a66bff", chain.ErrFingerprint},
		"a fingerprint of no digits":  {regtest.XpubVanilla, "zzzzzzzz", chain.ErrFingerprint},
		"an empty extended key":       {"", regtest.Fingerprint, chain.ErrPublicKey},
		"an account key and no print": {regtest.XpubVanilla, "", chain.ErrFingerprint},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := chain.NewAccount(tc.xpub, tc.fingerprint, 1, params); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}
