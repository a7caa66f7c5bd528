package websocket

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 section 1.3

func fields(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestCheckRequest(t *testing.T) {
	const version, key, protocol = "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"
	for name, c := range map[string]struct {
		h    http.Header
		want string // of the error; empty: none
	}{
		"the RFC's":             {fields(version, "13", key, sampleKey), ""},
		"with subprotocols":     {fields(version, "13", key, sampleKey, protocol, "chat, superchat", protocol, "v2.chat"), ""},
		"no version":            {fields(key, sampleKey), "version 13"},
		"version 8":             {fields(version, "8", key, sampleKey), "version 13"},
		"two versions":          {fields(version, "13", version, "8", key, sampleKey), "version 13"},
		"two in one":            {fields(version, "13, 8", key, sampleKey), "version 13"},
		"no key":                {fields(version, "13"), "key"},
		"two keys":              {fields(version, "13", key, sampleKey, key, sampleKey), "key"},
		"a short key":           {fields(version, "13", key, "dGhlIHNhbXBsZSBub25j"), "key"},
		"a long key":            {fields(version, "13", key, "dGhlIHNhbXBsZSBub25jZWQ="), "key"},
		"a key of other letter": {fields(version, "13", key, "dGhlIHNhbXBsZSBub25j_Q=="), "key"},
		"a key with loose bits": {fields(version, "13", key, "dGhlIHNhbXBsZSBub25jZR=="), "key"},
		"a key in lines":        {fields(version, "13", key, "dGhlIHNhbXBs\nZSBub25jZQ=="), "key"},
		"an empty subprotocol":  {fields(version, "13", key, sampleKey, protocol, "chat,"), "subprotocols"},
		"no token":              {fields(version, "13", key, sampleKey, protocol, "a chat"), "subprotocols"},
		"twice the same":        {fields(version, "13", key, sampleKey, protocol, "chat", protocol, "chat"), "subprotocols"},
		"nothing":               {nil, "version 13"},
	} {
		if err := CheckRequest(c.h); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	const accept, protocol, extensions = "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"
	asked := fields("Sec-WebSocket-Key", sampleKey, protocol, "chat, superchat")
	right := "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 section 1.3
	for name, c := range map[string]struct {
		h    http.Header
		want string
	}{
		"the RFC's":               {fields(accept, right), ""},
		"a subprotocol":           {fields(accept, right, protocol, "superchat"), ""},
		"nothing":                 {nil, "key"},
		"to another key":          {fields(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="), "key"},
		"two answers":             {fields(accept, right, accept, right), "key"},
		"an extension":            {fields(accept, right, extensions, "permessage-deflate"), "extension"},
		"an empty extension":      {fields(accept, right, extensions, ""), "extension"},
		"another subprotocol":     {fields(accept, right, protocol, "other"), "nobody offered"},
		"another case":            {fields(accept, right, protocol, "Chat"), "nobody offered"},
		"the whole offer":         {fields(accept, right, protocol, "chat, superchat"), "nobody offered"},
		"an empty subprotocol":    {fields(accept, right, protocol, ""), "nobody offered"},
		"two subprotocols":        {fields(accept, right, protocol, "chat", protocol, "superchat"), "several"},
		"the answer, another way": {fields(accept, strings.ToLower(right)), "key"},
	} {
		if err := CheckAnswer(asked, c.h); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestStripIdentity(t *testing.T) {
	const protocol = "Sec-WebSocket-Protocol"
	for name, c := range map[string]struct{ h, want http.Header }{
		"none":        {fields("A", "b"), fields("A", "b")},
		"a protocol":  {fields(protocol, "chat"), fields(protocol, "chat")},
		"OpenAI's":    {fields(protocol, "realtime, openai-insecure-api-key.sk-mine", protocol, "openai-beta.realtime-v1"), fields(protocol, "realtime, openai-beta.realtime-v1")},
		"Kubernetes'": {fields(protocol, "v5.channel.k8s.io,Base64URL.bearer.authorization.k8s.io.bWluZQ"), fields(protocol, "v5.channel.k8s.io")},
		"only that":   {fields(protocol, "openai-insecure-api-key.sk-mine"), fields()},
	} {
		if StripIdentity(c.h); !reflect.DeepEqual(c.h, c.want) {
			t.Errorf("%s: %v, want %v", name, c.h, c.want)
		}
	}
}
