package bitcoin

import "testing"

// FuzzAddressOfNetworks holds that an address is read on the networks that it is said to be of, and on no other; that what pays it is
// one script; and that no amount below its dust limit counts as enough.
func FuzzAddressOfNetworks(f *testing.F) {
	for _, vector := range readVectors(f).Addresses {
		f.Add(vector.Address)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		of := map[Network]bool{}
		networks, err := AddressNetworks(text)
		for _, network := range networks {
			of[network] = true
		}
		if (err == nil) != (len(networks) > 0) {
			t.Fatalf("%q is of %v, %v", text, networks, err)
		}
		var script string
		for _, network := range []Network{Mainnet, Testnet, Signet, Regtest, "utexo", ""} {
			address, err := ParseAddress(text, network)
			if (err == nil) != of[network] {
				t.Fatalf("%q is of %v, and on %q: %v", text, networks, network, err)
			}
			if err != nil {
				continue
			}
			if script == "" {
				script = string(address.Script)
			}
			if len(address.Script) < 22 || len(address.Script) > 42 || string(address.Script) != script {
				t.Fatalf("%q is paid by %x, and elsewhere by %x", text, address.Script, script)
			}
			if limit := DustLimit(address.Script); limit < 200 || limit > 1000 {
				t.Fatalf("%q has a dust limit of %d sat", text, limit)
			}
		}
	})
}
