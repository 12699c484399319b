package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GetConditions returns the conditions of the status.
func (w *Wallet) GetConditions() []metav1.Condition { return w.Status.Conditions }

// GetConditions returns the conditions of the status.
func (i *LightningInvoice) GetConditions() []metav1.Condition { return i.Status.Conditions }

// GetConditions returns the conditions of the status.
func (p *LightningPayment) GetConditions() []metav1.Condition { return p.Status.Conditions }

// GetConditions returns the conditions of the status.
func (s *OnchainSend) GetConditions() []metav1.Condition { return s.Status.Conditions }

// GetConditions returns the conditions of the status.
func (d *DepositAddress) GetConditions() []metav1.Condition { return d.Status.Conditions }

// GetConditions returns the conditions of the status.
func (s *Settlement) GetConditions() []metav1.Condition { return s.Status.Conditions }

// GetConditions returns the conditions of the status.
func (s *Statement) GetConditions() []metav1.Condition { return s.Status.Conditions }
