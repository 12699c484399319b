// Package v1alpha1 is the API group payments.utexo.com: payments over the UTEXO API as Kubernetes resources.
//
// +kubebuilder:object:generate=true
// +groupName=payments.utexo.com
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type of this package.
var GroupVersion = schema.GroupVersion{Group: "payments.utexo.com", Version: "v1alpha1"}

var (
	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Wallet{}, &WalletList{},
		&LightningInvoice{}, &LightningInvoiceList{},
		&LightningPayment{}, &LightningPaymentList{},
		&OnchainSend{}, &OnchainSendList{},
		&DepositAddress{}, &DepositAddressList{},
		&Settlement{}, &SettlementList{},
		&PaymentApproval{}, &PaymentApprovalList{},
		&PaymentSignature{}, &PaymentSignatureList{},
		&Statement{}, &StatementList{},
		&PaymentRecord{}, &PaymentRecordList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
