package own

import "slices"

// tokens is the table: facts from the providers' documents and secret-scanning pages.
func tokens() []token {
	return slices.Concat(ofModels(), ofCode(), ofPlatforms(), ofWork())
}

// ofModels are of makers of models, and of what agents use beside them.
func ofModels() []token {
	return []token{
		{id: "openai-project-key", who: "key of OpenAI", prefix: "sk-proj-", class: word, min: 40},
		{id: "openai-service-key", who: "key of an OpenAI service account", prefix: "sk-svcacct-", class: word, min: 40},
		{id: "openai-admin-key", who: "key of an OpenAI administrator", prefix: "sk-admin-", class: word, min: 40},
		{id: "anthropic-any-api-key", who: "key of Anthropic", prefix: "sk-ant-api", class: word, min: 60},
		{id: "anthropic-any-admin-key", who: "key of an Anthropic administrator", prefix: "sk-ant-admin", class: word, min: 60},
		{id: "anthropic-oauth-token", who: "login of Claude", prefix: "sk-ant-oat", class: word, min: 60},
		{id: "anthropic-refresh-token", who: "refresh token of Claude", prefix: "sk-ant-ort", class: word, min: 60},
		{id: "anthropic-session", who: "session of claude.ai", prefix: "sk-ant-sid", class: word, min: 60},
		{id: "openrouter-key", who: "key of OpenRouter", prefix: "sk-or-v1-", class: hexes, min: 64},
		{id: "groq-key", who: "key of Groq", prefix: "gsk_", class: alnum, min: 48},
		{id: "xai-key", who: "key of xAI", prefix: "xai-", class: alnum, min: 70},
		{id: "gemini-auth-key", who: "key of Gemini", prefix: "AQ.Ab8", class: word, min: 40},
		{id: "cursor-key", who: "key of Cursor", prefix: "crsr_", class: hexes, min: 64},
		{id: "cursor-old-key", who: "key of Cursor", prefix: "key_", class: hexes, min: 64},
		{id: "perplexity-any-key", who: "key of Perplexity", prefix: "pplx-", class: alnum, min: 32},
		{id: "replicate-token", who: "token of Replicate", prefix: "r8_", class: alnum, min: 37, exact: true},
		{id: "huggingface-any-token", who: "token of Hugging Face", prefix: "hf_", class: alnum, min: 34},
		{id: "together-key", who: "key of Together", prefix: "tgp_v1_", class: word, min: 43},
		{id: "cerebras-key", who: "key of Cerebras", prefix: "csk-", class: lower, min: 48},
		{id: "nvidia-key", who: "key of NVIDIA NIM", prefix: "nvapi-", class: word, min: 60},
		{id: "tavily-key", who: "key of Tavily", prefix: "tvly-", class: alnum + "-", min: 32},
		{id: "firecrawl-key", who: "key of Firecrawl", prefix: "fc-", class: hexes, min: 32},
		{id: "langsmith-key", who: "key of LangSmith", prefix: "lsv2_pt_", class: hexes, min: 32, tail: "_[0-9a-f]{10}", example: "_" + sample(hexes, 10)},
		{id: "langsmith-service-key", who: "key of LangSmith", prefix: "lsv2_sk_", class: hexes, min: 32, tail: "_[0-9a-f]{10}", example: "_" + sample(hexes, 10)},
		{id: "langfuse-secret-key", who: "key of Langfuse", prefix: "sk-lf-", class: hexes + "-", min: 36},
		{id: "pinecone-key", who: "key of Pinecone", prefix: "pcsk_", class: alnum + "_", min: 60},
		{id: "jina-key", who: "key of Jina", prefix: "jina_", class: word, min: 50},
		{id: "e2b-key", who: "key of E2B", prefix: "e2b_", class: hexes, min: 40},
		{id: "runpod-key", who: "key of RunPod", prefix: "rpa_", class: upper + "a-z", min: 40},
		{id: "apify-token", who: "token of Apify", prefix: "apify_api_", class: alnum, min: 34},
		{id: "browserbase-key", who: "key of Browserbase", prefix: "bb_live_", class: word, min: 26},
		{id: "llamacloud-key", who: "key of LlamaCloud", prefix: "llx-", class: alnum, min: 44},
		{id: "vercel-gateway-key", who: "key of the Vercel AI gateway", prefix: "vck_", class: alnum, min: 48},
		{id: "wandb-key", who: "key of Weights & Biases", prefix: "wandb_v1_", class: alnum + "_", min: 40},
		{id: "elevenlabs-key", who: "key of ElevenLabs", prefix: "sk_", class: hexes, min: 48},
		{id: "deepseek-key", who: "key of DeepSeek", prefix: "sk-", class: hexes, min: 32},
		{id: "model-key", who: "key of a model provider", prefix: "sk-", class: alnum, min: 48},
		{id: "amp-key", who: "key of Amp", prefix: "sgamp_", class: alnum + "_", min: 40},
	}
}

// ofCode are of where code lives, is built and is published.
func ofCode() []token {
	return []token{
		{id: "github-any-token", who: "token of a GitHub app", prefix: "ghs_", class: alnum + "._-", min: 36},
		{id: "github-user-to-server", who: "token of a GitHub user", prefix: "ghu_", class: alnum + "._-", min: 36},
		{id: "gitlab-registration-token", who: "registration token of a GitLab runner", prefix: "glrtr-", class: word, min: 20},
		{id: "gitlab-workspace-token", who: "workspace token of GitLab", prefix: "glwt-", class: word, min: 20},
		{id: "bitbucket-app-password", who: "app password of Bitbucket", prefix: "ATBB", class: alnum, min: 32, exact: true},
		{id: "bitbucket-access-token", who: "access token of Bitbucket", prefix: "ATCTT3xFfG", class: "=" + word, min: 100},
		{id: "test-pypi-token", who: "token of test.pypi.org", prefix: "pypi-AgENdGVzdC5weXBpLm9yZw", class: word, min: 50},
		{id: "docker-hub-token", who: "personal token of Docker Hub", prefix: "dckr_pat_", class: word, min: 27},
		{id: "docker-org-token", who: "organization token of Docker Hub", prefix: "dckr_oat_", class: word, min: 32},
		{id: "nuget-key", who: "key of NuGet", prefix: "oy2", class: "a-z2-7", min: 43, exact: true},
		{id: "buildkite-token", who: "token of Buildkite", prefix: "bkua_", class: hexes, min: 40},
		{id: "circleci-token", who: "token of CircleCI", prefix: "CCIPAT_", class: alnum, min: 22, tail: "_[0-9a-f]{40}", example: "_" + sample(hexes, 40)},
		{id: "crates-token", who: "token of crates.io", prefix: "cio", class: alnum, min: 32, exact: true},
	}
}

// ofPlatforms are of where code and data run.
func ofPlatforms() []token {
	return []token{
		{id: "netlify-token", who: "token of Netlify", prefix: "nfp_", class: alnum, min: 36},
		{id: "netlify-build-token", who: "token of Netlify", prefix: "nfc_", class: alnum, min: 36},
		{id: "vercel-token", who: "token of Vercel", prefix: "vcp_", class: alnum, min: 48},
		{id: "cloudflare-user-token", who: "token of Cloudflare", prefix: "cfut_", class: word, min: 40},
		{id: "cloudflare-account-token", who: "token of a Cloudflare account", prefix: "cfat_", class: word, min: 40},
		{id: "supabase-token", who: "token of Supabase", prefix: "sbp_", class: hexes, min: 40},
		{id: "supabase-oauth-token", who: "token of Supabase", prefix: "sbp_oauth_", class: hexes, min: 40},
		{id: "supabase-secret-key", who: "secret key of a Supabase project", prefix: "sb_secret_", class: word, min: 30},
		{id: "neon-key", who: "key of Neon", prefix: "napi_", class: lower, min: 50},
		{id: "aiven-password", who: "password of an Aiven service", prefix: "AVNS_", class: word, min: 19},
		{id: "atlas-secret", who: "secret of a MongoDB Atlas account", prefix: "mdb_sa_sk_", class: word, min: 40},
		{id: "elastic-key", who: "key of Elastic", prefix: "essu_", class: b64, min: 40},
		{id: "render-key", who: "key of Render", prefix: "rnd_", class: alnum, min: 28},
		{id: "tailscale-key", who: "key of Tailscale", prefix: "tskey-", class: alnum + "-", min: 30},
		{id: "vault-short-token", who: "token of Vault", prefix: "hvs.", class: word, min: 24},
		{id: "vault-recovery-token", who: "recovery token of Vault", prefix: "hvr.", class: word, min: 24},
		{id: "doppler-cli-token", who: "token of Doppler", prefix: "dp.ct.", class: alnum, min: 40},
		{id: "doppler-service-token", who: "token of Doppler", prefix: "dp.st.", class: lower + "_.A-Z-", min: 40},
		{id: "doppler-account-token", who: "token of Doppler", prefix: "dp.sa.", class: alnum, min: 40},
		{id: "doppler-scim-token", who: "token of Doppler", prefix: "dp.scim.", class: alnum, min: 40},
		{id: "doppler-audit-token", who: "token of Doppler", prefix: "dp.audit.", class: alnum, min: 40},
		{id: "age-plugin-key", who: "identity of an age plugin", prefix: "AGE-PLUGIN-", class: upper + "-", min: 40},
		{id: "age-quantum-key", who: "post-quantum identity of age", prefix: "AGE-SECRET-KEY-PQ-1", class: upper, min: 50},
	}
}

// ofWork are of where people work and pay.
func ofWork() []token {
	return []token{
		{id: "slack-browser-token", who: "browser session of Slack", prefix: "xoxc-", class: alnum + "-", min: 40},
		{id: "slack-session-cookie", who: "session cookie of Slack", prefix: "xoxd-", class: alnum + "%+/-", min: 40},
		{id: "stripe-webhook-secret", who: "signing secret of a webhook", prefix: "whsec_", class: b64, min: 32},
		{id: "linear-oauth-token", who: "token of Linear", prefix: "lin_oauth_", class: hexes, min: 60},
		{id: "notion-old-token", who: "token of Notion", prefix: "secret_", class: alnum, min: 43},
		{id: "figma-token", who: "token of Figma", prefix: "figd_", class: word, min: 38},
		{id: "figma-oauth-token", who: "token of Figma", prefix: "figo_", class: word, min: 38},
		{id: "sentry-app-token", who: "token of Sentry", prefix: "sntrya_", class: hexes, min: 64},
		{id: "newrelic-user-key", who: "user key of New Relic", prefix: "NRAK-", class: upper, min: 27},
		{id: "newrelic-insert-key", who: "insert key of New Relic", prefix: "NRII-", class: word, min: 32},
		{id: "posthog-key", who: "personal key of PostHog", prefix: "phx_", class: alnum, min: 40},
		{id: "resend-key", who: "key of Resend", prefix: "re_", class: alnum, min: 8, tail: "_[0-9A-Za-z]{24}", example: "_" + sample(alnum, 24)},
		{id: "contentful-token", who: "token of Contentful", prefix: "CFPAT-", class: word, min: 43},
		{id: "trello-token", who: "token of Trello", prefix: "ATTA", class: hexes, min: 60},
		{id: "mapbox-secret-token", who: "secret token of Mapbox", prefix: "sk.eyJ", class: word, min: 40, tail: `\.[\w-]{20}`, example: "." + sample(word, 20)},
		{id: "google-oauth-secret", who: "client secret of Google OAuth", prefix: "GOCSPX-", class: word, min: 28},
		{id: "google-refresh-token", who: "refresh token of Google OAuth", prefix: "1//0", class: word, min: 60},
		{id: "google-access-token", who: "access token of Google", prefix: "ya29.", class: "." + word, min: 40},
	}
}
