package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/shard"
)

// walletUse is a Wallet as a resource that names it can use it now.
type walletUse struct {
	// wallet is nil where there is none that the resource may name.
	wallet *v1alpha1.Wallet
	// connection is nil where unusable says why.
	connection *Connection
	// unusable is why the wallet cannot be used at all.
	unusable *payment.Obstacle
	// notReady is why nothing new begins on it, although its service can be asked.
	notReady *payment.Obstacle
	// foreign is the wallet's namespace and name, where it is another namespace's than that of the resource; else empty.
	foreign string
}

// told is why the wallet cannot be used, as the resource may show it: who may use a wallet need not know what its namespace holds.
func (u *walletUse) told(obstacle *payment.Obstacle) *payment.Obstacle {
	if obstacle == nil || u.foreign == "" {
		return obstacle
	}
	told := *obstacle
	told.Message = fmt.Sprintf("Wallet %s is not ready; its own conditions say why: ask its owner", u.foreign)
	return &told
}

// Use connects to the Wallet that a resource names. An error is one of the API server's.
func (c *Connector) Use(ctx context.Context, user client.Object, reference v1alpha1.WalletReference) (walletUse, error) {
	return c.use(ctx, user.GetNamespace(), reference, func(wallet *v1alpha1.Wallet) *payment.Obstacle { return shard.Mismatch(user, wallet) })
}

// use connects to the Wallet that is named in namespace, unless refused says why it must not be used, which it says of those that may be
// named there.
func (c *Connector) use(ctx context.Context, namespace string, reference v1alpha1.WalletReference, refused func(*v1alpha1.Wallet) *payment.Obstacle,
) (walletUse, error) {
	key := walletKey(namespace, reference)
	foreign := key.Namespace != namespace
	var wallet v1alpha1.Wallet
	err := c.Reader.Get(ctx, key, &wallet)
	switch {
	case apierrors.IsNotFound(err) && foreign:
		return walletUse{unusable: notAllowed(key, namespace)}, nil
	case apierrors.IsNotFound(err):
		return walletUse{unusable: &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletNotFound, Message: fmt.Sprintf("Wallet %s does not exist in this namespace; create it", reference.Name),
		}}, nil
	case err != nil:
		return walletUse{}, fmt.Errorf("reading Wallet: %w", err)
	}
	if foreign {
		if allowed, err := c.allows(ctx, &wallet, namespace); err != nil {
			return walletUse{}, err
		} else if !allowed {
			return walletUse{unusable: notAllowed(key, namespace)}, nil
		}
	}
	if obstacle := refused(&wallet); obstacle != nil {
		return walletUse{unusable: obstacle}, nil
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
	if !foreign {
		return used, nil
	}
	used.foreign = key.String()
	used.unusable, used.notReady = used.told(used.unusable), used.told(used.notReady)
	if used.connection != nil {
		used.connection.Record.Namespace = key.Namespace
	}
	return used, nil
}

// UseOwn is Use for what only the Wallet's own namespace may declare, whatever the Wallet allows others: who may spend within limits may
// not move the balance into channels past them, nor read the books.
func (c *Connector) UseOwn(ctx context.Context, user client.Object, reference v1alpha1.WalletReference) (walletUse, error) {
	if key := walletKey(user.GetNamespace(), reference); key.Namespace != user.GetNamespace() {
		return walletUse{unusable: &payment.Obstacle{
			Reason: v1alpha1.ReasonInvalidSpec, DeadEnd: true,
			Message: fmt.Sprintf("walletRef names a Wallet in namespace %s: this can be declared in that namespace alone", key.Namespace),
		}}, nil
	}
	return c.Use(ctx, user, reference)
}

// walletKey is the Wallet that a resource in namespace names.
func walletKey(namespace string, reference v1alpha1.WalletReference) client.ObjectKey {
	if reference.Namespace != "" {
		namespace = reference.Namespace
	}
	return client.ObjectKey{Namespace: namespace, Name: reference.Name}
}

// allows reports whether a Wallet may be named from another namespace.
func (c *Connector) allows(ctx context.Context, wallet *v1alpha1.Wallet, namespace string) (bool, error) {
	allowed := wallet.Spec.AllowedNamespaces
	switch {
	case allowed == nil:
		return false, nil
	case allowed.From == v1alpha1.NamespacesAll:
		return true, nil
	case allowed.From != v1alpha1.NamespacesSelector || allowed.Selector == nil:
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		return false, nil // what selects nothing that can be read allows nobody
	}
	var from corev1.Namespace
	if err := c.Reader.Get(ctx, client.ObjectKey{Name: namespace}, &from); err != nil {
		return false, fmt.Errorf("reading Namespace: %w", err)
	}
	return selector.Matches(labels.Set(from.Labels)), nil
}

// notAllowed tells as much of a Wallet that may not be named as of one that does not exist. Labels of namespaces are not watched, so
// that it is looked at again.
func notAllowed(wallet client.ObjectKey, namespace string) *payment.Obstacle {
	return &payment.Obstacle{
		Reason: v1alpha1.ReasonWalletNotAllowed, RetryAfter: time.Minute,
		Message: fmt.Sprintf("Wallet %s does not exist, or its spec.allowedNamespaces does not allow namespace %s: ask its owner", wallet, namespace),
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
	case apierrors.IsNotFound(err),
		err == nil && (current.UID != wallet.UID || current.Generation != wallet.Generation || !shard.Same(&current, wallet)):
		return &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "the Wallet changed; it is read again", RetryAfter: time.Second}, nil
	case err != nil:
		return nil, fmt.Errorf("reading the Wallet: %w", err)
	}
	return nil, nil
}
