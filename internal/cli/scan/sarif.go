package scan

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"bottle/internal/bottle"
)

// The parts of SARIF 2.1.0 (OASIS standard, 27 March 2020) that are written here, by
// their sections there.
type (
	sarifLog struct { // 3.13
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct { // 3.14
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Columns     string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct { // 3.18
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct { // 3.19
		Name    string      `json:"name"`
		Version string      `json:"semanticVersion"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct { // 3.49
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct { // 3.11
		Text string `json:"text"`
	}
	sarifInvocation struct { // 3.20
		OK            bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct { // 3.58
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifResult struct { // 3.27
		Rule       string          `json:"ruleId"`
		Index      int             `json:"ruleIndex"`
		Level      string          `json:"level"`
		Message    sarifText       `json:"message"`
		Locations  []sarifLocation `json:"locations"`
		Properties sarifProperties `json:"properties"`
	}
	// sarifProperties holds the fingerprint, which is no partialFingerprint (3.27.17):
	// those are the same in every run.
	sarifProperties struct { // 3.8
		Encoding    []string `json:"encoding,omitempty"`
		Length      int      `json:"length,omitempty"`
		Fingerprint string   `json:"fingerprint,omitempty"`
	}
	sarifLocation struct { // 3.28
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct { // 3.29
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct { // 3.4
		URI string `json:"uri"`
	}
	sarifRegion struct { // 3.30
		StartLine   int   `json:"startLine"`
		StartColumn int   `json:"startColumn"`
		EndLine     int   `json:"endLine"`
		EndColumn   int   `json:"endColumn"`
		ByteOffset  int64 `json:"byteOffset"`
		ByteLength  int   `json:"byteLength"`
	}
)

// sarif makes the log of one run.
func sarif(r report) sarifLog {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "bottle", Version: bottle.Version, Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{OK: len(r.Unread) == 0}},
		Columns:     "unicodeCodePoints",
		Results:     []sarifResult{},
	}
	index := map[string]int{}
	for _, f := range r.Findings {
		i, ok := index[f.Rule]
		if !ok {
			i = len(index)
			index[f.Rule] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{f.Rule, sarifText{f.Description}})
		}
		run.Results = append(run.Results, sarifResult{
			Rule: f.Rule, Index: i, Level: "error", Message: sarifText{message(f)},
			Locations:  []sarifLocation{{sarifPhysical{sarifArtifact{uri(f.File)}, &sarifRegion{f.Line, f.Column, f.EndLine, f.EndColumn, f.Offset, f.Size}}}},
			Properties: sarifProperties{f.Encoding, f.Length, f.Fingerprint},
		})
	}
	for _, u := range r.Unread {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
			Level: "error", Message: sarifText{u.Error}, Locations: []sarifLocation{{sarifPhysical{Artifact: sarifArtifact{uri(u.File)}}}},
		})
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

func message(f finding) string {
	text := f.Description
	if len(f.Encoding) > 0 {
		text += " Encoded as " + strings.Join(f.Encoding, " > ") + "."
	}
	if f.Length > 0 {
		text += fmt.Sprintf(" Its length: %d bytes.", f.Length)
	}
	return text
}

// uri names a file: relative to where the command ran, unless its path is absolute.
func uri(file string) string {
	if file == Stdin {
		return "stdin"
	}
	u := url.URL{Path: filepath.ToSlash(filepath.Clean(file))}
	if filepath.IsAbs(file) {
		u.Scheme = "file"
		return "file://" + u.EscapedPath()
	}
	return u.String()
}
