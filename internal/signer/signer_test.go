package signer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

const guide = "split capable text loop dream live outside suspect eight carry fine relax"

func path(account keys.Account, keychain, index uint32) keys.Path {
	return keys.Path{Network: bitcoin.Regtest, Account: account, Keychain: keychain, Index: index}
}

// transfer builds a PSBT of the shape of an asset transfer: it spends a coin at every path, commits in an OP_RETURN and comes back
// to the colored account. Every map has a proprietary field.
func transfer(t testing.TB, deriver *keys.Deriver, paths ...keys.Path) *psbt.Packet {
	t.Helper()
	fingerprint := deriver.Public().Fingerprint()
	child := func(path keys.Path) (keys.Child, *psbt.TaprootBip32Derivation) {
		t.Helper()
		c, err := deriver.Child(path)
		if err != nil {
			t.Fatal(err)
		}
		return c, &psbt.TaprootBip32Derivation{
			XOnlyPubKey: c.InternalKey[:], Bip32Path: path.Steps(),
			MasterKeyFingerprint: uint32(fingerprint[0]) | uint32(fingerprint[1])<<8 | uint32(fingerprint[2])<<16 | uint32(fingerprint[3])<<24,
		}
	}
	proprietary := func(where byte) []*psbt.Unknown {
		return []*psbt.Unknown{
			{Key: []byte{0xfc, 3, 'R', 'G', 'B', 1, where}, Value: []byte{where}},
			{Key: []byte{0xfc, 3, 'M', 'P', 'C', 0, where}, Value: []byte("first read, first written")},
			{Key: []byte{0xf0, where}, Value: nil},
		}
	}
	tx := wire.NewMsgTx(2)
	for i := range paths {
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Index: uint32(i)}, Sequence: 0xfffffffd})
	}
	change, changeDerivation := child(path(keys.Colored, 0, 6))
	tx.AddTxOut(wire.NewTxOut(0, append([]byte{txscript.OP_RETURN, 32}, make([]byte, 32)...)))
	tx.AddTxOut(wire.NewTxOut(int64(len(paths))*1000-600, change.Script()))
	packet, err := psbt.NewFromUnsignedTx(tx)
	if err != nil {
		t.Fatal(err)
	}
	packet.Unknowns = proprietary('g')
	for i, path := range paths {
		c, derivation := child(path)
		packet.Inputs[i] = psbt.PInput{
			WitnessUtxo: wire.NewTxOut(1000, c.Script()), TaprootInternalKey: c.InternalKey[:],
			TaprootBip32Derivation: []*psbt.TaprootBip32Derivation{derivation}, Unknowns: proprietary('i'),
		}
	}
	packet.Outputs[0].Unknowns = proprietary('o')
	packet.Outputs[1] = psbt.POutput{
		TaprootInternalKey: change.InternalKey[:], TaprootBip32Derivation: []*psbt.TaprootBip32Derivation{changeDerivation},
		Unknowns: proprietary('o'),
	}
	return packet
}

func text(t testing.TB, packet *psbt.Packet) string {
	t.Helper()
	encoded, err := packet.B64Encode()
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func packetOf(t testing.TB, text string) *psbt.Packet {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	packet, err := psbt.NewFromRawBytes(bytes.NewReader(raw), false)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func deriverOf(t testing.TB, signer *Local) *keys.Deriver {
	t.Helper()
	public, err := signer.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	deriver, err := public.Deriver()
	if err != nil {
		t.Fatal(err)
	}
	return deriver
}

func transferPolicy() psbtcheck.Policy {
	p := psbtcheck.DefaultPolicy()
	p.MaxNetOutflowSats = 600
	p.Intent = &psbtcheck.Intent{}
	return p
}

func TestTransferWithCoinsOfBothAccounts(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	payee, err := hex.DecodeString("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	if err != nil {
		t.Fatal(err)
	}
	before := transfer(t, deriverOf(t, signer), path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3), path(keys.Vanilla, 0, 2), path(keys.Colored, 1, 250_000))
	before.Outputs[0].Bip32Derivation = []*psbt.Bip32Derivation{{PubKey: payee, MasterKeyFingerprint: 7, Bip32Path: []uint32{1}}}
	request := Request{UnsignedPSBT: text(t, before), Policy: transferPolicy()}
	signed, err := signer.Sign(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	after := packetOf(t, signed.PSBT)
	for i, input := range after.Inputs {
		want := psbt.PInput{
			WitnessUtxo: before.Inputs[i].WitnessUtxo, FinalScriptWitness: input.FinalScriptWitness, Unknowns: before.Inputs[i].Unknowns,
		}
		if diff := cmp.Diff(want, input, emptyIsNil); diff != "" {
			t.Errorf("input %d (-want +got):\n%s", i, diff)
		}
		if n := len(input.FinalScriptWitness); n != 66 {
			t.Errorf("the witness of input %d has %d bytes", i, n)
		}
	}
	for i, output := range after.Outputs {
		want := psbt.POutput{TaprootInternalKey: before.Outputs[i].TaprootInternalKey, Unknowns: before.Outputs[i].Unknowns}
		if diff := cmp.Diff(want, output, emptyIsNil); diff != "" {
			t.Errorf("output %d (-want +got):\n%s", i, diff)
		}
	}
	if diff := cmp.Diff(before.Unknowns, after.Unknowns, emptyIsNil); diff != "" {
		t.Errorf("global fields (-want +got):\n%s", diff)
	}
	tx, err := Extract(signed.PSBT)
	if err != nil {
		t.Fatal(err)
	}
	if weight := int64(3*tx.SerializeSizeStripped() + tx.SerializeSize()); weight != signed.Inspection.Weight {
		t.Errorf("the transaction weighs %d, the inspection said %d", weight, signed.Inspection.Weight)
	}
	if want := (psbtcheck.Split{Vanilla: 2000, Colored: 2000}); signed.Inspection.OwnInputs != want {
		t.Errorf("own inputs %+v, want %+v", signed.Inspection.OwnInputs, want)
	}
}

// emptyIsNil makes cmp ignore how the library writes no bytes.
var emptyIsNil = cmp.Transformer("hex", hex.EncodeToString)

func TestSigningIsDeterministicAndConcurrent(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	request := Request{
		UnsignedPSBT: text(t, transfer(t, deriverOf(t, signer), path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3))), Policy: transferPolicy(),
	}
	const callers = 8
	got := make([]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			signed, err := signer.Sign(t.Context(), request)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = signed.PSBT
		})
	}
	wg.Wait()
	again, err := local(t, guide, bitcoin.Regtest).Sign(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	for _, psbt := range got {
		if psbt != again.PSBT {
			t.Fatalf("one PSBT was signed in two ways:\n%s\n%s", psbt, again.PSBT)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	unsigned := text(t, transfer(t, deriverOf(t, signer), path(keys.Colored, 0, 0)))
	for name, tc := range map[string]struct {
		signer  *Local
		request Request
		want    psbtcheck.Code
	}{
		"the zero request":          {signer, Request{}, psbtcheck.NotPSBT},
		"the zero policy":           {signer, Request{UnsignedPSBT: unsigned}, psbtcheck.ChangeOutOfReach},
		"no outflow allowed":        {signer, Request{UnsignedPSBT: unsigned, Policy: psbtcheck.DefaultPolicy()}, psbtcheck.OutflowTooHigh},
		"another wallet's PSBT":     {local(t, guide, bitcoin.Mainnet), Request{UnsignedPSBT: unsigned, Policy: transferPolicy()}, psbtcheck.ForeignPath},
		"a PSBT that is signed":     {signer, Request{UnsignedPSBT: mustSign(t, signer, unsigned), Policy: transferPolicy()}, psbtcheck.AlreadySigned},
		"a wallet of another seed":  {local(t, "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", bitcoin.Regtest), Request{UnsignedPSBT: unsigned, Policy: transferPolicy()}, psbtcheck.ForeignFingerprint},
		"an outflow above by a sat": {signer, Request{UnsignedPSBT: unsigned, Policy: func() psbtcheck.Policy { p := transferPolicy(); p.MaxNetOutflowSats--; return p }()}, psbtcheck.OutflowTooHigh},
	} {
		t.Run(name, func(t *testing.T) {
			signed, err := tc.signer.Sign(t.Context(), tc.request)
			var refusal *psbtcheck.Refusal
			if signed != nil || !errors.As(err, &refusal) || refusal.Code != tc.want {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

// faulty spoils a signature, as a fault of the memory or an attacker with a hammer would, or does not sign.
type faulty struct {
	keyring
	err error
}

func (f faulty) SignTaproot(path keys.Path, digest [32]byte) ([64]byte, error) {
	if f.err != nil {
		return [64]byte{}, f.err
	}
	signature, err := f.keyring.SignTaproot(path, digest)
	signature[63] ^= 1
	return signature, err
}

func TestFaultySignaturesAreKeptBack(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	request := Request{UnsignedPSBT: text(t, transfer(t, deriverOf(t, signer), path(keys.Colored, 0, 0))), Policy: transferPolicy()}
	broken := errors.New("no signature")
	for name, tc := range map[string]struct{ fault, want error }{
		"a spoilt signature": {nil, ErrInvalidSignature},
		"no signature":       {broken, broken},
	} {
		t.Run(name, func(t *testing.T) {
			signed, err := (&Local{keys: faulty{signer.keys, tc.fault}}).Sign(t.Context(), request)
			if signed != nil || !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func mustSign(t testing.TB, signer *Local, unsigned string) string {
	t.Helper()
	signed, err := signer.Sign(t.Context(), Request{UnsignedPSBT: unsigned, Policy: transferPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	return signed.PSBT
}

func TestAccept(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	deriver := deriverOf(t, signer)
	unsigned := text(t, transfer(t, deriver, path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3)))
	good := mustSign(t, signer, unsigned)
	edited := func(edit func(*psbt.Packet)) string {
		t.Helper()
		packet := packetOf(t, good)
		edit(packet)
		return text(t, packet)
	}
	var refusal *psbtcheck.Refusal
	refused := func(code psbtcheck.Code) func(error) bool {
		return func(err error) bool { return errors.As(err, &refusal) && refusal.Code == code }
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Accept(cancelled, deriver.Public(), Request{UnsignedPSBT: unsigned, Policy: transferPolicy()}, good); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if _, err := Accept(t.Context(), deriver.Public(), Request{UnsignedPSBT: good, Policy: transferPolicy()}, good); !refused(psbtcheck.AlreadySigned)(err) {
		t.Errorf("a request that is signed: %v", err)
	}
	if err := Verify(good, good); !refused(psbtcheck.AlreadySigned)(err) {
		t.Errorf("verifying against a signed PSBT: %v", err)
	}
	if _, err := Extract(unsigned); !refused(psbtcheck.NotSigned)(err) {
		t.Errorf("extracting from an unsigned PSBT: %v", err)
	}
	for name, tc := range map[string]struct {
		signed string
		policy func(*psbtcheck.Policy)
		want   func(error) bool
	}{
		"the signed PSBT":                {good, nil, func(err error) bool { return err == nil }},
		"without its proprietary fields": {edited(func(p *psbt.Packet) { p.Unknowns = nil; p.Inputs[0].Unknowns = nil }), nil, func(err error) bool { return err == nil }},
		"the unsigned PSBT":              {unsigned, nil, refused(psbtcheck.NotSigned)},
		"nothing":                        {"", nil, refused(psbtcheck.NotPSBT)},
		"half signed":                    {edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness = nil }), nil, refused(psbtcheck.NotSigned)},
		"a policy that is not met":       {good, func(p *psbtcheck.Policy) { p.MaxNetOutflowSats = 599 }, refused(psbtcheck.OutflowTooHigh)},
		"another transaction":            {edited(func(p *psbt.Packet) { p.UnsignedTx.LockTime++ }), nil, is(ErrOtherTransaction)},
		"the PSBT of other coins":        {mustSign(t, signer, text(t, transfer(t, deriver, path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 4)))), nil, is(ErrOtherTransaction)},
		"another amount of a coin":       {edited(func(p *psbt.Packet) { p.Inputs[1].WitnessUtxo.Value++ }), nil, is(ErrOtherTransaction)},
		"another script of a coin":       {edited(func(p *psbt.Packet) { p.Inputs[1].WitnessUtxo = p.Inputs[0].WitnessUtxo }), nil, is(ErrOtherTransaction)},
		"no coin":                        {edited(func(p *psbt.Packet) { p.Inputs[1].WitnessUtxo = nil }), nil, is(ErrOtherTransaction)},
		"a bit of a signature":           {edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness[40] ^= 4 }), nil, is(ErrInvalidSignature)},
		"the other input's signature":    {edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness = p.Inputs[0].FinalScriptWitness }), nil, is(ErrInvalidSignature)},
	} {
		t.Run(name, func(t *testing.T) {
			policy := transferPolicy()
			if tc.policy != nil {
				tc.policy(&policy)
			}
			signed, err := Accept(t.Context(), deriver.Public(), Request{UnsignedPSBT: unsigned, Policy: policy}, tc.signed)
			if !tc.want(err) {
				t.Errorf("unexpected: %v", err)
			}
			if (signed != nil) != (err == nil) {
				t.Errorf("answer %v with error %v", signed, err)
			}
			if signed != nil && (signed.PSBT != tc.signed || signed.Txid != packetOf(t, unsigned).UnsignedTx.TxHash().String()) {
				t.Errorf("answer %+v", signed)
			}
		})
	}
}

func TestExtractRefusesWhatVerifyCannotReach(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	good := mustSign(t, signer, text(t, transfer(t, deriverOf(t, signer), path(keys.Colored, 0, 0), path(keys.Colored, 0, 0))))
	if _, err := Extract(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*psbt.Packet){
		"no coin":                           func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo = nil },
		"a coin that anybody may spend":     func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo.PkScript = []byte{txscript.OP_TRUE} },
		"a coin of a later witness version": func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo.PkScript[0] = txscript.OP_2 },
	} {
		t.Run(name, func(t *testing.T) {
			packet := packetOf(t, good)
			edit(packet)
			if tx, err := Extract(text(t, packet)); tx != nil || !errors.Is(err, ErrInvalidSignature) {
				t.Errorf("%v, want %v", err, ErrInvalidSignature)
			}
		})
	}
}

func TestExtractRefusesOneCoinTwice(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	at := path(keys.Colored, 0, 0)
	packet := transfer(t, deriverOf(t, signer), at, at)
	packet.UnsignedTx.TxIn[1].PreviousOutPoint = packet.UnsignedTx.TxIn[0].PreviousOutPoint
	// Each signature by itself is good: inspection is passed by.
	if err := signer.sign(packet, &psbtcheck.Inspection{Inputs: []psbtcheck.Input{{Path: at}, {Path: at}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(text(t, packet)); !errors.Is(err, ErrInvalidSignature) {
		t.Errorf("%v, want %v", err, ErrInvalidSignature)
	}
}

// chain is the coins that exist, whatever a PSBT says about them.
type chain map[wire.OutPoint]*wire.TxOut

func chainOf(packet *psbt.Packet) chain {
	c := chain{}
	for i, txIn := range packet.UnsignedTx.TxIn {
		c[txIn.PreviousOutPoint] = packet.Inputs[i].WitnessUtxo
	}
	return c
}

// accepts tells whether the network would: every coin exists, is spent once and with its owner's signature, and outputs do not
// exceed inputs. It returns the value that is spent.
func (c chain) accepts(t testing.TB, tx *wire.MsgTx) (amount.Sat, bool) {
	t.Helper()
	coins := txscript.NewMultiPrevOutFetcher(nil)
	var in, out int64
	for _, txIn := range tx.TxIn {
		coin := c[txIn.PreviousOutPoint]
		if coin == nil || coins.FetchPrevOutput(txIn.PreviousOutPoint) != nil {
			return 0, false
		}
		coins.AddPrevOut(txIn.PreviousOutPoint, coin)
		in += coin.Value
	}
	for _, txOut := range tx.TxOut {
		if txOut.Value < 0 || txOut.Value > int64(amount.MaxSat) {
			return 0, false
		}
		out += txOut.Value
	}
	if out > in {
		return 0, false
	}
	hashes := txscript.NewTxSigHashes(tx, coins)
	for i, txIn := range tx.TxIn {
		coin := c[txIn.PreviousOutPoint]
		engine, err := txscript.NewEngine(coin.PkScript, tx, i, txscript.StandardVerifyFlags, nil, hashes, coin.Value, coins)
		if err != nil || engine.Execute() != nil {
			return 0, false
		}
	}
	return amount.Sat(in), true
}

// TestNoChangedBitCostsMore signs PSBTs that differ from a good one in one bit, and has a chain that knows the true coins judge:
// what it accepts pays exactly whom and what the good one pays, and costs no more than the policy allows, counted from the coins and
// the known scripts alone. What it does not accept moves nothing.
func TestNoChangedBitCostsMore(t *testing.T) {
	const slack = 40 // sat of fee that the policy leaves, so that some changes pass
	file := vectors(t)
	for _, c := range file.Cases {
		if c.Name != "vanilla-kc1-to-p2wpkh" && c.Name != "create-utxos" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			signer := local(t, c.Mnemonic, c.Network)
			good, err := signer.Sign(t.Context(), Request{UnsignedPSBT: c.UnsignedPSBT, Policy: file.policy(c)})
			if err != nil {
				t.Fatal(err)
			}
			policy := file.policy(c)
			policy.MaxNetOutflowSats = good.Inspection.NetOutflowSats + slack
			if policy.Intent == nil {
				policy.Intent = &psbtcheck.Intent{}
			}
			own, payments := map[string]bool{}, []string{}
			payment := func(txOut *wire.TxOut) string {
				return hex.EncodeToString(txOut.PkScript) + " " + strconv.FormatInt(txOut.Value, 10)
			}
			goodPacket := packetOf(t, c.UnsignedPSBT)
			for i, output := range good.Inspection.Outputs {
				if output.Kind == psbtcheck.Own {
					own[string(output.Script)] = true
				} else {
					payments = append(payments, payment(goodPacket.UnsignedTx.TxOut[i]))
				}
			}
			coins := chainOf(goodPacket)
			raw, err := base64.StdEncoding.DecodeString(c.UnsignedPSBT)
			if err != nil {
				t.Fatal(err)
			}
			var refused, void, accepted int
			for i := range raw {
				for bit := range 8 {
					if c.Name == "create-utxos" && bit != i%8 { // one bit a byte: it is long
						continue
					}
					changed := bytes.Clone(raw)
					changed[i] ^= 1 << bit
					signed, err := signer.Sign(t.Context(), Request{UnsignedPSBT: base64.StdEncoding.EncodeToString(changed), Policy: policy})
					if err != nil {
						if refusal := new(psbtcheck.Refusal); !errors.As(err, &refusal) {
							t.Fatalf("bit %d of byte %d: %v is no *Refusal", bit, i, err)
						}
						refused++
						continue
					}
					tx, err := Extract(signed.PSBT)
					if err != nil {
						t.Fatalf("bit %d of byte %d: what was signed does not verify: %v", bit, i, err)
					}
					spent, ok := coins.accepts(t, tx)
					if !ok {
						void++
						continue
					}
					accepted++
					back, got := amount.Sat(0), []string{}
					for _, txOut := range tx.TxOut {
						if own[string(txOut.PkScript)] {
							back += amount.Sat(txOut.Value)
						} else {
							got = append(got, payment(txOut))
						}
					}
					if !slices.Equal(got, payments) || spent-back > policy.MaxNetOutflowSats {
						t.Errorf("bit %d of byte %d: it pays %v and costs %d sat; want %v and %d sat at most", bit, i, got, spent-back, payments, policy.MaxNetOutflowSats)
					}
				}
			}
			t.Logf("%d refused, %d void on chain, %d accepted", refused, void, accepted)
			if refused == 0 || void == 0 || accepted == 0 {
				t.Errorf("the test is blind: %d refused, %d void on chain, %d accepted", refused, void, accepted)
			}
		})
	}
}
