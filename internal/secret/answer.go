package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Lease is a credential and how long it is good for. Like a Value it never shows
// itself.
type Lease struct {
	Value
	Until time.Time // when it expires; zero: nobody said
}

// spoken is what helpers print as JSON. Each of these is a form that some program
// has: our own, OAuth's token response (RFC 6749 section 5.1), az, gcloud's config
// helper, and the ExecCredential of Kubernetes' client.authentication.k8s.io. AWS's
// form is not among them: its keys sign requests and are in none.
type spoken struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	Az          string `json:"accessToken"`
	ExpiresAt   moment `json:"expires_at"`
	ExpiresOn   moment `json:"expires_on"`
	ExpiresIn   *life  `json:"expires_in"`
	Status      struct {
		Token string `json:"token"`
		Until moment `json:"expirationTimestamp"`
	} `json:"status"`
	Credential struct {
		Token string `json:"access_token"`
		Until moment `json:"token_expiry"`
	} `json:"credential"`
}

// answer reads what who printed at the time now: the secret as the first line, as
// in a password store's entry, or one JSON object that may tell when it expires.
func answer(out []byte, who string, now time.Time) (Lease, error) {
	const form = `print the secret as one line, or {"token": "…", "expires_in": seconds}`
	text := bytes.TrimSpace(out)
	if !bytes.HasPrefix(text, []byte("{")) {
		line, _, _ := bytes.Cut(text, []byte("\n"))
		if bytes.HasPrefix(line, []byte("-----BEGIN")) {
			return Lease{}, problem(who+" gave a key in several lines", form)
		}
		v, err := usable(bytes.TrimRight(line, "\r"), who+"'s answer", form)
		return Lease{Value: v}, err
	}
	var s spoken
	if json.Unmarshal(text, &s) != nil { // the cause could quote the secret
		return Lease{}, problem(who+" gave JSON that can't be read", form)
	}
	if key := s.unread(); key != "" {
		return Lease{}, problem(fmt.Sprintf("%s gave %s a value that can't be read", who, key), "write a time as RFC 3339 (2030-01-02T15:04:05Z) or in seconds since 1970")
	}
	token := ""
	for _, t := range []string{s.Token, s.AccessToken, s.Az, s.Status.Token, s.Credential.Token} {
		if token == "" {
			token = t
		}
	}
	if token == "" {
		return Lease{}, problem(who+" gave a JSON object without a token", form)
	}
	v, err := usable([]byte(token), who+"'s token", form)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{Value: v, Until: s.until(now)}
	if !l.Until.IsZero() && !l.Until.After(now) {
		return Lease{}, problem(who+" gave a credential that has expired", "log in again with the program that it asks; is this machine's clock right?")
	}
	return l, nil
}

// unread is the key of an expiry that is no time, "" if there is none. The value
// could be anything, so only the key is told.
func (s spoken) unread() string {
	for _, m := range []struct {
		key string
		at  moment
	}{
		{"expires_at", s.ExpiresAt}, {"expires_on", s.ExpiresOn}, {"status.expirationTimestamp", s.Status.Until}, {"credential.token_expiry", s.Credential.Until},
	} {
		if m.at.bad {
			return m.key
		}
	}
	return ""
}

// until is the earliest of the expiries told.
func (s spoken) until(now time.Time) time.Time {
	var first time.Time
	said := []time.Time{s.ExpiresAt.Time, s.ExpiresOn.Time, s.Status.Until.Time, s.Credential.Until.Time}
	if s.ExpiresIn != nil {
		said = append(said, now.Add(time.Duration(*s.ExpiresIn)))
	}
	for _, t := range said {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// moment is a time as RFC 3339 or as seconds since 1970. null and "" are none.
type moment struct {
	time.Time
	bad bool // it was something else
}

func (m *moment) UnmarshalJSON(b []byte) error {
	s := string(bytes.Trim(b, `"`))
	if s == "" || s == "null" {
		return nil
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil {
		if m.bad = !(sec > 0 && sec < 1<<40); !m.bad { // so written, it refuses NaN
			m.Time = time.Unix(int64(sec), 0)
		}
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	m.Time, m.bad = t, err != nil
	return nil
}

// life is a number of seconds, at most 100 years.
type life time.Duration

func (l *life) UnmarshalJSON(b []byte) error {
	sec, err := strconv.ParseFloat(string(bytes.Trim(b, `"`)), 64)
	if err != nil || math.IsNaN(sec) || sec < 0 {
		return errors.New("no number of seconds")
	}
	const most = 100 * 365 * 24 * 3600
	*l = life(min(sec, most) * float64(time.Second))
	return nil
}
