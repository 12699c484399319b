package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// walletUse is a Wallet as a resource that names it can use it now.
type walletUse struct {
	// wallet is nil where there is none that the resource may name.
	wallet *v1alpha1.Wallet
	// connection is nil where unusable says why.
	connection *Connection
	// unusable is why the wallet cannot be used at all: a dead end where the resource may not name it.
	unusable *payment.Obstacle
	// notReady is why nothing new begins on it, although its service can be asked.
	notReady *payment.Obstacle
}

// Use connects to the Wallet that a resource in namespace names. An error is one of the API server's.
func (c *Connector) Use(ctx context.Context, namespace string, reference v1alpha1.WalletReference) (walletUse, error) {
	if foreign := foreignWallet(reference, namespace); foreign != nil {
		return walletUse{unusable: foreign}, nil
	}
	var wallet v1alpha1.Wallet
	err := c.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: reference.Name}, &wallet)
	if apierrors.IsNotFound(err) {
		return walletUse{unusable: &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletNotFound, Message: fmt.Sprintf("Wallet %s does not exist in this namespace; create it", reference.Name),
		}}, nil
	}
	if err != nil {
		return walletUse{}, fmt.Errorf("reading Wallet: %w", err)
	}
	connection, obstacle, err := c.Connect(ctx, &wallet)
	if err != nil {
		return walletUse{}, err
	}
	used := walletUse{wallet: &wallet, connection: connection, notReady: notReady(&wallet)}
	if obstacle != nil {
		used.connection = nil
		used.unusable = &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletNotReady, Message: fmt.Sprintf("Wallet %s: %s", wallet.Name, obstacle.Message), RetryAfter: obstacle.RetryAfter,
		}
	}
	return used, nil
}

// foreignWallet is the dead end of a resource that names a Wallet of another namespace, or nil.
func foreignWallet(reference v1alpha1.WalletReference, namespace string) *payment.Obstacle {
	if reference.Namespace == "" || reference.Namespace == namespace {
		return nil
	}
	return &payment.Obstacle{
		Reason: v1alpha1.ReasonInvalidSpec, DeadEnd: true,
		Message: fmt.Sprintf("walletRef names a Wallet in namespace %s; Wallets of other namespaces cannot be used: declare the resource there",
			reference.Namespace),
	}
}

// notReady says why nothing new begins on a wallet, or nil.
func notReady(wallet *v1alpha1.Wallet) *payment.Obstacle {
	ready := meta.FindStatusCondition(wallet.Status.Conditions, v1alpha1.ConditionReady)
	message := "it was not looked at yet"
	switch {
	case ready != nil && wallet.Status.ObservedGeneration == wallet.Generation && ready.Status == metav1.ConditionTrue:
		return nil
	case ready != nil && wallet.Status.ObservedGeneration == wallet.Generation:
		message = ready.Message
	}
	return &payment.Obstacle{
		Reason: v1alpha1.ReasonWalletNotReady, Message: fmt.Sprintf("Wallet %s is not ready: %s", wallet.Name, message), RetryAfter: secretPoll,
	}
}

// noSigner says why a wallet cannot sign, or nil. Of a remote signer it knows what the Wallet's last look showed: one that went away since
// is met, and waited for, where it is asked to sign.
func noSigner(wallet *v1alpha1.Wallet, connection *Connection) *payment.Obstacle {
	held := func(problem string, retryAfter time.Duration) *payment.Obstacle {
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonSignerNotAvailable, RetryAfter: retryAfter,
			Message: fmt.Sprintf("Wallet %s cannot sign: %s", wallet.Name, problem),
		}
	}
	if unsigned := connection.Unsigned; unsigned != nil {
		return held(unsigned.Message, unsigned.RetryAfter)
	}
	ready := meta.FindStatusCondition(wallet.Status.Conditions, v1alpha1.ConditionSignerReady)
	if signsRemotely(wallet) && ready != nil && ready.Status == metav1.ConditionFalse {
		return held(ready.Message, secretPoll)
	}
	return nil
}

// walletUnchanged reads wallet again, uncached, and says why what was decided for it must not be done any more; nil where it may.
func walletUnchanged(ctx context.Context, reader client.Reader, wallet *v1alpha1.Wallet) (*payment.Obstacle, error) {
	var current v1alpha1.Wallet
	err := reader.Get(ctx, client.ObjectKeyFromObject(wallet), &current)
	switch {
	case apierrors.IsNotFound(err) || (err == nil && (current.UID != wallet.UID || current.Generation != wallet.Generation)):
		return &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "the Wallet changed; it is read again", RetryAfter: time.Second}, nil
	case err != nil:
		return nil, fmt.Errorf("reading the Wallet: %w", err)
	}
	return nil, nil
}
