package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/suitegate/suitegate/certs/seal/awskms"
)

type kmsCommand struct {
	Policy kmsPolicyCommand `cmd:"" help:"Print the policy statements that let a gateway use a key of AWS KMS, and no more."`
	Cost   kmsCostCommand   `cmd:"" help:"Estimate how many requests a key of AWS KMS gets, and what they cost."`
}

type kmsPolicyCommand struct {
	For           string            `enum:"writer,reader" required:"" placeholder:"ROLE" help:"writer for a gateway that seals and opens, reader for one that only opens."`
	Keys          []string          `name:"key" sep:"none" placeholder:"ARN" help:"Key that may be used; several in turn. A key policy is about the key that it belongs to, and needs none."`
	Principals    []string          `name:"principal" sep:"none" placeholder:"ARN" help:"Print statements for the policy of the key, which let this role, user, account or service in; several in turn."`
	SourceAccount string            `placeholder:"ACCOUNT" help:"Account for which a service may act."`
	SourceARNs    []string          `name:"source-arn" sep:"none" placeholder:"ARN" help:"Resource for which a service may act, where * and ? stand for others; several in turn."`
	Context       map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Only where the encryption context has this; several in turn."`
}

// Errors in what was typed for a policy.
var (
	errNoKey         = errors.New("no key: an identity's policy has to name the keys that it is about")
	errEverybody     = errors.New("the principal * is everybody, in any account")
	errNoSource      = errors.New("a service acts for many: without --source-account and --source-arn it would use the key for others, too (the confused deputy)")
	errSourceForWhom = errors.New("--source-account and --source-arn are about services, and no principal is one")
	errNotTheAccount = errors.New("the resource is in another account")
	errNotAnAccount  = errors.New("not an account: want a number of 12 digits")
	errNotAPrincipal = errors.New("not a principal: want the ARN of a role, a user or an account (arn:aws:iam::ACCOUNT:role/NAME), or a service such as sqs.amazonaws.com")
	errNotAnARN      = errors.New("not an ARN")
)

func (k *kmsPolicyCommand) Run(out *console) error {
	if err := k.check(); err != nil {
		return usageHint(err, "suitegate kms policy --help")
	}
	if len(k.Principals) > 0 {
		out.hintf("add these to the Statement of the key's policy: alone, they would lock out those who administer the key")
		return out.json(k.keyStatements())
	}
	statement := k.statement()
	statement.Resource = k.Keys
	return out.json(iamPolicy{Version: "2012-10-17", Statement: []iamStatement{statement}})
}

func (k *kmsPolicyCommand) check() error {
	for _, key := range k.Keys {
		if _, err := awskms.ParseKey(key); err != nil {
			return err
		}
	}
	services := 0
	for _, principal := range k.Principals {
		if isService(principal) {
			services++
		} else if err := checkPrincipal(principal); err != nil {
			return fmt.Errorf("%q: %w", principal, err)
		}
	}
	switch {
	case len(k.Keys) == 0 && len(k.Principals) == 0:
		return errNoKey
	case services > 0 && (k.SourceAccount == "" || len(k.SourceARNs) == 0):
		return errNoSource
	case services == 0 && (k.SourceAccount != "" || len(k.SourceARNs) > 0):
		return errSourceForWhom
	case k.SourceAccount != "" && !accountID.MatchString(k.SourceAccount):
		return fmt.Errorf("%q: %w", k.SourceAccount, errNotAnAccount)
	}
	for _, source := range k.SourceARNs {
		name, err := arn.Parse(source)
		if err != nil {
			return fmt.Errorf("%q: %w", source, errNotAnARN)
		}
		// Buckets of S3 have none in their ARN.
		if name.AccountID != "" && name.AccountID != k.SourceAccount {
			return fmt.Errorf("%q: %w, not in %s", source, errNotTheAccount, k.SourceAccount)
		}
	}
	return nil
}

var (
	accountID   = regexp.MustCompile(`^[0-9]{12}$`)
	serviceName = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
)

func isService(principal string) bool { return serviceName.MatchString(principal) }

func checkPrincipal(principal string) error {
	if principal == "*" {
		return errEverybody
	}
	name, err := arn.Parse(principal)
	if err != nil || name.Service != "iam" && name.Service != "sts" || !accountID.MatchString(name.AccountID) ||
		name.Resource == "" || strings.ContainsAny(name.Resource, "*?") {
		return errNotAPrincipal
	}
	return nil
}

// iamPolicy and iamStatement are AWS's JSON.
type iamPolicy struct {
	Version   string
	Statement []iamStatement
}

type iamStatement struct {
	Sid       string
	Effect    string
	Principal map[string][]string `json:",omitempty"`
	Action    []string
	Resource  any
	Condition map[string]map[string]any `json:",omitempty"`
}

// statement is what statements of all kinds have.
func (k *kmsPolicyCommand) statement() iamStatement {
	s := iamStatement{Sid: "SuitegateReads", Effect: "Allow", Action: []string{"kms:Decrypt"}}
	if k.For == "writer" {
		// Decrypt, because a data key is compared with what it was wrapped as
		// before it is used.
		s.Sid, s.Action = "SuitegateWrites", []string{"kms:GenerateDataKey", "kms:Decrypt"}
	}
	for name, value := range k.Context {
		s.demand("StringEquals", "kms:EncryptionContext:"+name, value)
	}
	return s
}

func (s *iamStatement) demand(operator, key string, value any) {
	if s.Condition == nil {
		s.Condition = make(map[string]map[string]any)
	}
	if s.Condition[operator] == nil {
		s.Condition[operator] = make(map[string]any)
	}
	s.Condition[operator][key] = value
}

// keyStatements are those of a key's policy: one for people and roles, and one for
// services, which may only act for the source.
func (k *kmsPolicyCommand) keyStatements() []iamStatement {
	var identities, services []string
	for _, principal := range k.Principals {
		if isService(principal) {
			services = append(services, principal)
		} else {
			identities = append(identities, principal)
		}
	}
	var statements []iamStatement
	add := func(kind string, principals []string) *iamStatement {
		s := k.statement()
		s.Resource = "*" // the key that the policy belongs to
		s.Principal = map[string][]string{kind: principals}
		statements = append(statements, s)
		return &statements[len(statements)-1]
	}
	if len(identities) > 0 {
		add("AWS", identities)
	}
	if len(services) > 0 {
		s := add("Service", services)
		s.Sid += "ForSource"
		s.demand("StringEquals", "aws:SourceAccount", k.SourceAccount)
		operator := "ArnEquals"
		if strings.ContainsAny(strings.Join(k.SourceARNs, ""), "*?") {
			operator = "ArnLike"
		}
		s.demand(operator, "aws:SourceArn", k.SourceARNs)
	}
	return statements
}
