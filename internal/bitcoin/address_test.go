package bitcoin

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/address/v2/base58"
	"github.com/btcsuite/btcd/address/v2/bech32"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
)

// vectors is testdata/addresses.json: the examples of BIP 173 and BIP 350, and others.
type vectors struct {
	Dust []struct {
		Output string
		Sats   amount.Sat `json:"dust_sats"`
	} `json:"dust_at_3_sat_per_vb"`
	MaxSats   amount.Sat `json:"max_sats"`
	Addresses []struct {
		Address  string
		Note     string
		Script   string `json:"script_pubkey_hex"`
		Type     AddressType
		AcceptOn map[string]bool `json:"accept_on"`
	}
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Addresses) != 25 || len(v.Dust) != 6 {
		t.Fatalf("the file has %d addresses and %d dust limits", len(v.Addresses), len(v.Dust))
	}
	return v
}

func assertReason(t *testing.T, err error, want AddressReason) {
	t.Helper()
	got, ok := errors.AsType[*AddressError](err)
	if !ok || got.Reason != want {
		t.Fatalf("got error %v, want reason %q", err, want)
	}
	if got.Message == "" || len(got.Message) > 512 {
		t.Errorf("message of %d bytes", len(got.Message))
	}
}

// wantReasons are the reasons for which the vectors that are good nowhere must be refused.
var wantReasons = map[string]AddressReason{
	"pay-to-anchor, test nets":                            Unsupported,
	"BIP350 witness v2: valid but undefined":              Unsupported,
	"bad checksum":                                        Malformed,
	"BIP350: v0 with bech32m checksum":                    Malformed,
	"BIP350: v0, 32-byte program, bech32m checksum":       Malformed,
	"BIP350: invalid character in checksum":               Malformed,
	"BIP350: 1-byte program":                              Malformed,
	"BIP173: v0 program of 16 bytes":                      Malformed,
	"base58 bad checksum":                                 Malformed,
	"Litecoin P2PKH":                                      WrongNetwork,
	"hex public key (the library takes it as an address)": Unsupported,
	"truncated":                 Malformed,
	"leading space":             Malformed,
	"BIP21 URI, not an address": Malformed,
	"P2TR whose key is not on the curve (x of a BIP340 test vector): unspendable; the library accepts it": Unsupported,
}

func TestAddressVectors(t *testing.T) {
	for _, vector := range readVectors(t).Addresses {
		t.Run(vector.Note, func(t *testing.T) {
			var want []Network
			for _, network := range networks {
				if vector.AcceptOn[string(network)] {
					want = append(want, network)
				}
			}
			if vector.AcceptOn["testnet"] != vector.AcceptOn["testnet4"] {
				t.Fatal("testnet3 and testnet4 differ, which Testnet cannot tell")
			}
			good, err := AddressNetworks(vector.Address)
			if len(want) == 0 {
				assertReason(t, err, wantReasons[vector.Note])
			} else if diff := cmp.Diff(want, good); diff != "" || err != nil {
				t.Errorf("networks (-want +got), %v:\n%s", err, diff)
			}
			for _, network := range networks {
				parsed, err := ParseAddress(vector.Address, network)
				switch {
				case len(want) == 0:
					assertReason(t, err, wantReasons[vector.Note])
				case !slices.Contains(want, network):
					assertReason(t, err, WrongNetwork)
				case err != nil:
					t.Errorf("%s: %v", network, err)
				default:
					if got := hex.EncodeToString(parsed.Script); got != vector.Script {
						t.Errorf("%s: script %s, want %s", network, got, vector.Script)
					}
					if parsed.Type != vector.Type {
						t.Errorf("%s: type %s, want %s", network, parsed.Type, vector.Type)
					}
					if !strings.EqualFold(parsed.Text, vector.Address) {
						t.Errorf("%s: text %s", network, parsed.Text)
					}
				}
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	const good = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
	for name, tc := range map[string]struct {
		text        string
		wantReason  AddressReason
		wantMention string
	}{
		"nothing":                                    {"", Malformed, "empty"},
		"a placeholder":                              {"bc1q...", Malformed, "not a bitcoin address"},
		"a placeholder with words":                   {"tb1qexample", Malformed, "not a bitcoin address"},
		"white space after":                          {good + "\n", Malformed, "white space"},
		"an upper-case URI":                          {"BITCOIN:" + strings.ToUpper(good), Malformed, "URI"},
		"mixed case":                                 {"bc1Q" + good[4:], Malformed, "copy it again"},
		"a scheme alone":                             {"bitcoin:", Malformed, "not a bitcoin address"},
		"an uncompressed public key":                 {"04" + strings.Repeat("ab", 64), Unsupported, "public key"},
		"simnet, segwit":                             {segwit(t, "sb", 1, make([]byte, 32)), WrongNetwork, "none of Bitcoin's"},
		"simnet, base 58":                            {base58.CheckEncode(make([]byte, 20), 0x3f), WrongNetwork, "none of Bitcoin's"},
		"a hash of 21 bytes":                         {base58.CheckEncode(make([]byte, 21), 0), Malformed, "copy it again"},
		"a later witness version":                    {segwit(t, "bc", 16, make([]byte, 32)), Unsupported, "witness version 16"},
		"no witness version at all":                  {segwit(t, "bc", 17, make([]byte, 32)), Malformed, "copy it again"},
		"an RGB invoice":                             {"rgb:~/~/~/bcrt:utxob:cbgHUJ4e-7QyKY4U-Jsj5AZw-oI0gxZh-7fxQY2_-tFFUAZN-4CgpX", Malformed, "not a bitcoin address"},
		"a BOLT11 invoice":                           {"lnbc" + strings.Repeat("q", 300), Malformed, "characters"},
		"a private key (WIF)":                        {"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617", Malformed, "not a bitcoin address"},
		"Taproot of 33 bytes":                        {segwit(t, "bc", 1, make([]byte, 33)), Unsupported, "Taproot"},
		"Taproot of 20 bytes, P2WPKH to the library": {segwit(t, "bc", 1, make([]byte, 20)), Unsupported, "Taproot"},
		"characters beyond ASCII":                    {"bc1qär0srrr7xfkvy5l643lydnw9re59gtzzwf5md", Malformed, "copy it again"},
		"two addresses":                              {good + "," + good, Malformed, "not a bitcoin address"},
		"an extended public key's form":              {"tpub" + strings.Repeat("D", 107), Malformed, "characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAddress(tc.text, Mainnet)
			assertReason(t, err, tc.wantReason)
			if !strings.Contains(err.Error(), tc.wantMention) {
				t.Errorf("message %q does not mention %q", err, tc.wantMention)
			}
		})
	}
	t.Run("a network that is none", func(t *testing.T) {
		_, err := ParseAddress(good, "utexo")
		assertReason(t, err, WrongNetwork)
	})
	t.Run("a network that differs names both", func(t *testing.T) {
		_, err := ParseAddress("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Mainnet)
		for _, mention := range []string{"testnet or signet", "mainnet"} {
			if !strings.Contains(err.Error(), mention) {
				t.Errorf("message %q does not mention %q", err, mention)
			}
		}
	})
}

// segwit writes an address of any version and program, with the checksum of BIP 350.
func segwit(t testing.TB, prefix string, version byte, program []byte) string {
	t.Helper()
	groups, err := bech32.ConvertBits(program, 8, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := bech32.EncodeM(prefix, append([]byte{version}, groups...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAddressTextHasOneSpelling(t *testing.T) {
	upper, err := ParseAddress("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", Mainnet)
	if err != nil {
		t.Fatal(err)
	}
	lower, err := ParseAddress("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Mainnet)
	if diff := cmp.Diff(lower, upper); diff != "" || err != nil {
		t.Errorf("lower and upper case differ, %v:\n%s", err, diff)
	}
}

func TestDustLimit(t *testing.T) {
	v := readVectors(t)
	if v.MaxSats != amount.MaxSat {
		t.Errorf("all there can be is %d sat, want %d", amount.MaxSat, v.MaxSats)
	}
	hash20, hash32 := make([]byte, 20), make([]byte, 32)
	scripts := map[string][]byte{
		"P2PKH":     slices.Concat([]byte{0x76, 0xa9, 20}, hash20, []byte{0x88, 0xac}),
		"P2SH":      slices.Concat([]byte{0xa9, 20}, hash20, []byte{0x87}),
		"P2WPKH":    slices.Concat([]byte{0, 20}, hash20),
		"P2WSH":     slices.Concat([]byte{0, 32}, hash32),
		"P2TR":      slices.Concat([]byte{0x51, 32}, hash32),
		"OP_RETURN": slices.Concat([]byte{0x6a, 32}, hash32),
	}
	for _, vector := range v.Dust {
		if got := DustLimit(scripts[vector.Output]); got != vector.Sats {
			t.Errorf("%s: %d sat, want %d", vector.Output, got, vector.Sats)
		}
	}
	for name, tc := range map[string]struct {
		script []byte
		want   amount.Sat
	}{
		"no script":             {nil, 471},
		"bare multisig, 3 keys": {slices.Concat([]byte{0x51, 33}, make([]byte, 103)), 786},
		"a length of 3 bytes":   {make([]byte, 253), 1236},
		"too large to spend":    {make([]byte, 10_001), 0},
		"a public key":          {slices.Concat([]byte{33}, make([]byte, 33), []byte{0xac}), 576},
	} {
		if got := DustLimit(tc.script); got != tc.want {
			t.Errorf("%s: %d sat, want %d", name, got, tc.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for network, want := range map[Network]struct {
		params, prefix string
		coin, colored  uint32
	}{
		Mainnet: {"mainnet", "bc", 0, 827166},
		Testnet: {"testnet3", "tb", 1, 827167},
		Signet:  {"signet", "tbs", 1, 827167},
		Regtest: {"regtest", "bcrt", 1, 827167},
	} {
		params, err := network.Params()
		if err != nil || params.Name != want.params {
			t.Errorf("%s: params %v, %v", network, params, err)
		}
		if got := network.InvoicePrefix(); got != want.prefix {
			t.Errorf("%s: prefix %q, want %q", network, got, want.prefix)
		}
		if coin, colored := network.CoinType(), network.ColoredCoinType(); coin != want.coin || colored != want.colored {
			t.Errorf("%s: coin types %d and %d", network, coin, colored)
		}
	}
	if _, err := Network("utexo").Params(); err == nil {
		t.Error("an unknown network has parameters")
	}
	if prefix := Network("utexo").InvoicePrefix(); prefix != "" {
		t.Errorf("an unknown network has the prefix %q", prefix)
	}
}

// FuzzParseAddress holds that any text is an address or an *AddressError, and that an address is read the same from its Text.
func FuzzParseAddress(f *testing.F) {
	for _, vector := range readVectors(f).Addresses {
		f.Add(vector.Address)
	}
	f.Add(segwit(f, "bc", 1, make([]byte, 20)))
	f.Fuzz(func(t *testing.T, text string) {
		good, err := AddressNetworks(text)
		if err != nil {
			if refused, ok := errors.AsType[*AddressError](err); !ok || len(refused.Message) > 512 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		parsed, err := ParseAddress(text, good[0])
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseAddress(parsed.Text, good[0])
		if diff := cmp.Diff(parsed, again); diff != "" || err != nil {
			t.Errorf("read back (-read +again), %v:\n%s", err, diff)
		}
		if parsed.Text != text && parsed.Text != strings.ToLower(text) {
			t.Errorf("%s has a second spelling, %s", parsed.Text, text)
		}
	})
}
