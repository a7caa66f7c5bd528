package gitgate

import (
	"errors"
	"slices"
	"testing"
)

// TestOptionsForTheGateGoNoFurther: what begins with "bottle." in whatever letters is
// never among what upstream is sent, and an unknown one is noted.
func TestOptionsForTheGateGoNoFurther(t *testing.T) {
	const first = zeroID + " " + twoID + " refs/heads/a\x00report-status push-options"
	for name, c := range map[string]struct {
		options      []string
		dry, unknown bool
		on           []string
	}{
		"none":             {},
		"a dry run":        {options: []string{"bottle.dry-run"}, dry: true},
		"among others":     {options: []string{"ci.skip", "bottle.dry-run", "x=y"}, dry: true, on: []string{"ci.skip", "x=y"}},
		"unknown":          {options: []string{"bottle.x"}, unknown: true},
		"in capitals":      {options: []string{"Bottle.Dry-Run"}, unknown: true},
		"with a value":     {options: []string{"bottle.dry-run=0"}, unknown: true},
		"with a space":     {options: []string{"bottle.dry-run "}, unknown: true},
		"the prefix alone": {options: []string{"bottle."}, unknown: true},
		"another's":        {options: []string{"bottleneck", "x.bottle.dry-run", "bottl"}, on: []string{"bottleneck", "x.bottle.dry-run", "bottl"}},
	} {
		p, err := asked(t, &repo{}, append(append([]string{first, ""}, c.options...), "")...)
		if err != nil || p.dry != c.dry || p.unknown != c.unknown || !slices.Equal(p.asked.Options, c.on) || len(p.misread()) > 0 != c.unknown {
			t.Errorf("%s: dry %v, unknown %v, on goes %q, %v", name, p.dry, p.unknown, p.asked.Options, err)
		}
	}
}

// TestSignedDryRunIsGoodForNothingElse: the weakness: a certificate says what its signer
// wants, and the options stand beside it once more. The attack: the certificate of a dry
// run with the option left out beside it, and the other way round. This proves that the two
// must be the same.
func TestSignedDryRunIsGoodForNothingElse(t *testing.T) {
	const begin, end = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
	signed := func(caps string, in, beside []string) (*push, error) {
		lines := []string{"push-cert\x00report-status" + caps, "certificate version 0.1\n", "pusher a <a@example.com> 1 +0000\n"}
		for _, o := range in {
			lines = append(lines, "push-option "+o+"\n")
		}
		lines = append(lines, "\n", zeroID+" "+twoID+" refs/heads/a\n", begin, "AAAA\n", end, "push-cert-end\n", "")
		if caps != "" {
			lines = append(append(lines, beside...), "")
		}
		return asked(t, &repo{}, lines...)
	}
	both := []string{"ci.skip", dryRun}
	if p, err := signed(" push-options", both, both); err != nil || !p.dry || !slices.Equal(p.asked.Options, []string{"ci.skip"}) {
		t.Errorf("as git sends it: %v %v", p.dry, err)
	}
	if p, err := signed("", nil, nil); err != nil || p.dry {
		t.Errorf("without options: %v", err)
	}
	for name, c := range map[string]struct {
		caps       string
		in, beside []string
	}{
		"left out beside":      {" push-options", both, []string{"ci.skip"}},
		"none beside":          {" push-options", both, nil},
		"no options at all":    {"", []string{dryRun}, nil},
		"only beside":          {" push-options", nil, []string{dryRun}},
		"in another order":     {" push-options", both, []string{dryRun, "ci.skip"}},
		"another one beside":   {" push-options", []string{dryRun}, []string{"ci.skip"}},
		"one more beside":      {" push-options", []string{dryRun}, []string{dryRun, "ci.skip"}},
		"twice, and once only": {" push-options", []string{dryRun, dryRun}, []string{dryRun}},
	} {
		if p, err := signed(c.caps, c.in, c.beside); !errors.Is(err, errCertOptions) {
			t.Errorf("%s: dry %v, %v", name, p.dry, err)
		}
	}
}
