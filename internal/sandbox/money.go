package sandbox

import (
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// spend pays outputs from the node's coins.
func (s *Server) spend(n *node, outputs []*wire.TxOut, rate amount.SatPerVByte) (*wire.MsgTx, amount.Sat, *nodeError) {
	packet, err := n.coins.Pay(s.chain, outputs, rate)
	if err == nil {
		var tx *wire.MsgTx
		var fee amount.Sat
		if tx, fee, err = s.signAndSubmit(n, packet); err == nil {
			s.confirmSoon()
			return tx, fee, nil
		}
	}
	switch {
	case errors.Is(err, chain.ErrDust):
		return nil, 0, &nodeError{"Output below the dust limit", 400, "OutputBelowDustLimit"}
	case errors.Is(err, chain.ErrInsufficient):
		return nil, 0, &nodeError{"Insufficient funds", 403, "InsufficientFunds"}
	}
	return nil, 0, &nodeError{fmt.Sprintf("Failed to broadcast: %v", err), 500, "FailedBroadcast"}
}

// sendAsset moves an RGB-shaped transaction for an asset transfer.
func (s *Server) sendAsset(n *node, commitment [32]byte, rate amount.SatPerVByte) (*wire.MsgTx, amount.Sat, *nodeError) {
	packet, err := n.coins.SendAsset(s.chain, commitment, rate)
	if err == nil {
		var tx *wire.MsgTx
		var fee amount.Sat
		if tx, fee, err = s.signAndSubmit(n, packet); err == nil {
			s.confirmSoon()
			return tx, fee, nil
		}
	}
	if errors.Is(err, chain.ErrInsufficient) {
		return nil, 0, &nodeError{"No uncolored UTXOs are available", 403, "NoAvailableUtxos"}
	}
	return nil, 0, &nodeError{fmt.Sprintf("Failed to broadcast: %v", err), 500, "FailedBroadcast"}
}

func (s *Server) signAndSubmit(n *node, packet *psbt.Packet) (*wire.MsgTx, amount.Sat, error) {
	if err := n.master.Sign(packet); err != nil {
		return nil, 0, err
	}
	tx, err := psbt.Extract(packet)
	if err != nil {
		return nil, 0, err
	}
	id, err := s.chain.Submit(tx)
	if err != nil {
		return nil, 0, err
	}
	known, _ := s.chain.Tx(id)
	return tx, known.Fee, nil
}

// peerScript is where the counterparty of a channel wants its share.
func (s *Server) peerScript(c *channel) ([]byte, error) {
	return txscript.PayToTaprootScript(s.entropy.key("peer of " + c.id).PubKey())
}

// serviceScript is the fixed address of the service that the PSBTs of the reference server pay.
func (s *Server) serviceScript() ([]byte, error) {
	return txscript.PayToTaprootScript(s.entropy.key("service").PubKey())
}

// addressScript returns the script of an address of the sandbox's network. The library alone would take other networks' addresses
// and bare public keys.
func (s *Server) addressScript(text string) ([]byte, error) {
	addr, err := address.DecodeAddress(text, s.params)
	if err != nil || !addr.IsForNet(s.params) {
		return nil, errors.New("not an address of this network")
	}
	if _, isKey := addr.(*address.AddressPubKey); isKey {
		return nil, errors.New("a public key, not an address")
	}
	return txscript.PayToAddrScript(addr)
}

// outputTo returns one output.
func outputTo(script []byte, sats amount.Sat) []*wire.TxOut {
	return []*wire.TxOut{wire.NewTxOut(int64(sats), script)}
}
