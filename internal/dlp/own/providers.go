package own

import (
	"fmt"
	"regexp"
	"strings"

	"bottle/internal/dlp/rule"
)

// token is a kind of credential that begins with a text of its own, followed by a
// number of characters of one class: most of what was issued since 2021.
type token struct {
	id, who string
	prefix  string // as it is issued
	class   string // of what follows
	min     int    // how many follow at least
	exact   bool   // no more follow: the prefix is so short that it stands in the midst of encoded data
	tail    string // more of the expression, if the class is not all; for tails, the sample needs it too
	example string // of the tail
}

// providers are tokens by prefix. Lengths are the shortest seen, so that a longer
// format that comes later is found, too.
func providers() []rule.Rule {
	var all []rule.Rule
	for _, t := range tokens() {
		all = append(all, t.rule())
	}
	return all
}

// rule makes the rule of a token. A letter or a digit before a short prefix means that
// the prefix is part of something longer.
func (t token) rule() rule.Rule {
	begin, end := "", fmt.Sprintf("[%s]*", t.class)
	if len(t.prefix) < 7 {
		begin = `(?:^|[^0-9A-Za-z])`
	}
	border := ""
	if t.exact {
		begin, end, border = `(?:^|[^0-9A-Za-z+/_-])`, "", `(?:$|[^0-9A-Za-z+/_=-])`
	}
	article := "A "
	if strings.IndexByte("aeio", t.who[0]) >= 0 { // a user, a unit
		article = "An "
	}
	least := 3.0
	if t.min < 24 {
		least = 2.8
	}
	hit := t.prefix + sample(t.class, t.min) + t.example
	return rule.Rule{
		ID:          t.id,
		Description: article + t.who + ", which is as good as its owner.",
		Keywords:    []string{strings.ToLower(t.prefix)},
		Regexp:      fmt.Sprintf(`%s(%s[%s]{%d}%s%s)%s`, begin, regexp.QuoteMeta(t.prefix), t.class, t.min, t.tail, end, border),
		Group:       1,
		Check:       tokenCheck(len(t.prefix), t.min, least),
		Hits:        []string{hit, `{"key":"` + hit + `"}`, "KEY=" + hit + "\n", "https://api.example.com/?k=" + hit + "&x=1"},
		Misses: []string{
			t.prefix + sample(t.class, t.min-1),
			t.prefix + strings.Repeat("x", t.min) + t.example,
			t.prefix + strings.Repeat("0", t.min) + t.example,
			t.prefix + "${VALUE}",
		},
	}
}

// tokenCheck looks at what follows the prefix, and only at the part that every such
// token has.
func tokenCheck(prefix, min int, least float64) func([]byte) bool {
	drawn := random(min, least)
	return func(secret []byte) bool {
		if len(secret) < prefix+min || !drawn(secret[prefix:]) || classes(secret[prefix:]) < 2 {
			return false
		}
		return min < 30 || !lettersOnly(secret[prefix:prefix+min]) // a name in a program
	}
}

// shapes are credentials whose stable text is in the middle, at the end, or beside.
func shapes() []rule.Rule {
	botToken, discord := "123456789:AA"+sample(word, 33), "MTE5NzI0NTg3NjU0MzIx"+sample(alnum, 6)+"."+sample(word, 6)+"."+sample(word, 38)
	return []rule.Rule{
		{ID: "telegram-bot-token", Description: "The token of a Telegram bot.", Keywords: []string{":aa"},
			Regexp: `(?:^|[^0-9A-Za-z_-]|bot)([0-9]{8,10}:AA[0-9A-Za-z_-]{33})(?:$|[^0-9A-Za-z_-])`, Group: 1, Check: lastOf(33, 4),
			Hits: []string{"TOKEN=" + botToken, "https://api.telegram.org/bot" + botToken + "/getMe"}, Misses: []string{"12:AA" + sample(word, 33), "fe80::aa:bb", botToken + "x", "123456789:AA" + strings.Repeat("a", 33)}},
		{ID: "discord-bot-token", Description: "The token of a Discord bot.", Keywords: []string{"discord", "bot_token", "bottoken"},
			Regexp: `(?i:discord|bot_?token)[^\r\n]{0,80}?((?:M[TjzDE]|N[TjzDEQ]|O[TjzDE])[0-9A-Za-z_-]{22,26}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,40})`, Group: 1, Check: lastOf(27, 3.5),
			Hits: []string{`DISCORD_TOKEN="` + discord + `"`}, Misses: []string{discord, "discord " + discord[:40]}},
		{ID: "discord-webhook", Description: "A webhook of Discord: whoever has the URL may post.", Keywords: []string{"/api/webhooks/"},
			Regexp: `discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([0-9A-Za-z_-]{60,80})`, Group: 1, Check: random(60, 3.5),
			Hits: []string{"https://discord.com/api/webhooks/123456789012345678/" + sample(word, 68)}, Misses: []string{"https://discord.com/api/webhooks/123456789012345678/xxxxx"}},
		{ID: "azure-devops-token", Description: "A personal token of Azure DevOps.", Keywords: []string{"azdo"},
			Regexp: `(?:^|[^0-9A-Za-z])([0-9A-Za-z]{76}AZDO[0-9A-Za-z]{4})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(76, 4),
			Hits: []string{sample(alnum, 76) + "AZDO1abc"}, Misses: []string{sample(alnum, 70) + "AZDO1abc"}},
		{ID: "azure-key", Description: "A key of an Azure service.", Keywords: []string{"jqqj9"},
			Regexp: `(?:^|[^0-9A-Za-z])([0-9A-Za-z]{52}JQQJ9[9A-Z][0-9A-Za-z]{26})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(52, 4),
			Hits: []string{"key: " + sample(alnum, 52) + "JQQJ99" + sample(alnum, 26)}, Misses: []string{"JQQJ99" + sample(alnum, 26)}},
		{ID: "newrelic-license-key", Description: "A license key of New Relic.", Keywords: []string{"nral"},
			Regexp: `(?:^|[^0-9A-Za-z])((?:eu01xx)?[0-9a-f]{30,36}(?:FFFF)?NRAL)(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(30, 3),
			Hits: []string{"NEW_RELIC_LICENSE_KEY=" + sample(hexes, 36) + "NRAL"}, Misses: []string{"NRAL", "general neutral"}},
		{ID: "datadog-key", Description: "A key of Datadog.", Keywords: []string{"dd_api_key", "dd_app_key", "dd-api-key", "dd-application-key", "datadog_api_key", "datadog_app_key"},
			Regexp: `(?i)(?:dd|datadog)[_-](?:api|app|application)[_-]key["']?\s{0,3}[:=]{1,2}\s{0,3}["']?([0-9a-f]{40}|[0-9a-f]{32})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(32, 3),
			Hits: []string{"DD_API_KEY=" + sample(hexes, 32), `DD-APPLICATION-KEY: ` + sample(hexes, 40)}, Misses: []string{"DD_API_KEY=$DD_API_KEY", "DD_API_KEY=" + strings.Repeat("0", 32)}},
		{ID: "railway-token", Description: "A token of Railway.", Keywords: []string{"railway_token", "railway_api_token"},
			Regexp: `(?i)railway_(?:api_)?token["']?\s{0,3}[:=]\s{0,3}["']?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`, Group: 1, Check: random(36, 3),
			Hits: []string{"RAILWAY_TOKEN=3f8a1c52-9b7d-4e06-a1c4-5d2e8f90b367"}, Misses: []string{"RAILWAY_TOKEN=00000000-0000-0000-0000-000000000000"}},
		{ID: "vercel-old-token", Description: "A token of Vercel.", Keywords: []string{"vercel_token", "vercel_access_token", "vercel_api_token"},
			Regexp: `(?i)vercel_(?:access_|api_)?token["']?\s{0,3}[:=]\s{0,3}["']?([0-9A-Za-z]{24})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(24, 3.5),
			Hits: []string{"VERCEL_TOKEN=" + sample(alnum, 24)}, Misses: []string{"VERCEL_TOKEN=${{ secrets.VERCEL }}", "VERCEL_TOKEN=" + sample(alnum, 20)}},
		{ID: "zai-key", Description: "A key of Z.ai.", Keywords: []string{"zai_api_key", "zhipuai", "z_ai_api_key", "glm_api_key"},
			Regexp: `(?i)(?:z_?ai|zhipuai|glm)(?:_api_key)?["']?\s{0,3}[:=]\s{0,3}["']?([0-9a-f]{32}\.[0-9A-Za-z]{16})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(49, 3.5),
			Hits: []string{"ZAI_API_KEY=" + sample(hexes, 32) + "." + sample(alnum, 16)}, Misses: []string{"ZAI_API_KEY=" + sample(hexes, 32)}},
	}
}

// lastOf judges the last n bytes.
func lastOf(n int, least float64) func([]byte) bool {
	drawn := random(n, least)
	return func(secret []byte) bool { return len(secret) >= n && drawn(secret[len(secret)-n:]) }
}
