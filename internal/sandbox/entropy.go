package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"

	"github.com/utexo/utexo-operator/internal/memo"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// entropy gives the sandbox its keys, ids and preimages: HMAC-SHA-256 of a label and how often it was asked for, keyed by the seed.
// Each label counts for itself, so that one more invoice does not change the next key.
type entropy struct {
	seed    [8]byte
	counter map[string]uint64
}

func newEntropy(seed uint64) *entropy {
	e := &entropy{counter: map[string]uint64{}}
	binary.BigEndian.PutUint64(e.seed[:], seed)
	return e
}

// named returns the 32 bytes that belong to label, always the same.
func (e *entropy) named(label string) [32]byte {
	mac := hmac.New(sha256.New, e.seed[:])
	mac.Write([]byte(label))
	return [32]byte(mac.Sum(nil))
}

// next returns the next 32 bytes of label.
func (e *entropy) next(label string) [32]byte {
	e.counter[label]++
	return e.named(string(binary.BigEndian.AppendUint64([]byte(label), e.counter[label])))
}

// uuid returns the next UUID of label, in the form of version 4 (RFC 9562).
func (e *entropy) uuid(label string) string {
	raw := e.next(label)
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	text := hex.EncodeToString(raw[:16])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// madeKeys and madeMasters remember keys by what they are made of: thousands of sandboxes of one seed have the same.
var (
	madeKeys    = memo.New[[32]byte, *btcec.PrivateKey](1024)
	madeMasters = memo.New[masterOf, *chain.Master](64)
)

type masterOf struct {
	raw     [32]byte
	network string
}

// key returns the private key that belongs to label.
func (e *entropy) key(label string) *btcec.PrivateKey {
	raw := e.named(label)
	key, ok := madeKeys.Get(raw)
	if !ok {
		key, _ = btcec.PrivKeyFromBytes(raw[:])
		madeKeys.Put(raw, key)
	}
	return key
}

// master returns the BIP 32 master key that belongs to label.
func (e *entropy) master(label string, params *chaincfg.Params) (*chain.Master, error) {
	of := masterOf{e.named(label), params.Name}
	if known, ok := madeMasters.Get(of); ok {
		return known, nil
	}
	made, err := chain.NewMaster(of.raw[:], params)
	if err == nil {
		madeMasters.Put(of, made)
	}
	return made, err
}

// assetID returns the contract id of the asset with that ticker.
func (e *entropy) assetID(ticker string) string {
	return rgb.ContractID(e.named("asset " + ticker)).String()
}
