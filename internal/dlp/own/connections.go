package own

import "bottle/internal/dlp/rule"

// connections are strings of settings that hold a password. URLs with one are Scan's.
func connections() []rule.Rule {
	const pass = "K9w2!rXp44m"
	passwords := []string{"password=", "pwd=", "password ="}
	return []rule.Rule{
		{ID: "connection-password", Description: "A password in a connection string (ADO.NET, ODBC, JDBC).", Keywords: passwords,
			Regexp: `(?i);\s?(?:password=|pwd=|password =)\s?["']?([^;\s"'<>&,]{6,256})`, Check: connectionPassword,
			Hits: []string{
				"Server=tcp:db.internal,1433;Database=a;User ID=bob;Password=" + pass + ";Encrypt=True",
				"Driver={ODBC Driver 18 for SQL Server};Server=db;Uid=bob;Pwd=" + pass + ";",
				"jdbc:sqlserver://db:1433;user=bob;password=" + pass,
			},
			Misses: []string{
				"Server=db;Uid=bob;Pwd=password;", "Server=db;Password={password};", "a=b;password=this.password;c", "Server=x;Password=<password>", "server=x;password=$PASSWORD", "x;password=getPassword()",
			}},
		{ID: "dsn-password", Description: "A password in a list of connection parameters (libpq, JDBC).", Keywords: passwords,
			Regexp: `(?i)\b(?:host|user|dbname|port|sslmode|hostaddr|login|uid|username|server)=[^\s;&]{1,64}[\s&]{1,4}(?:password=|pwd=|password =)\s?["']?([^;\s"'<>&,]{6,256})`, Check: connectionPassword,
			Hits:   []string{"host=db port=5432 user=bob password=" + pass + " dbname=a", "jdbc:mysql://db/a?user=bob&password=" + pass},
			Misses: []string{"host=db user=bob password=secret dbname=a", "https://a.example/?user=bob&password=somewords"}},
		{ID: "connection-password-first", Description: "A password that begins a connection string.", Keywords: passwords,
			Regexp: `(?i)[\s"'\x60](?:password=|pwd=|password =)\s?([^;\s"'<>&]{6,256});\s?(?:server|host|data source|uid|user|user id|database|initial catalog|driver|port)\s?=`, Check: connectionPassword,
			Hits:   []string{`"Password=` + pass + `;Server=db"`},
			Misses: []string{`"Password=password;Server=db"`}},
	}
}

// connectionPassword wants a digit: what has none is mostly a name in a program.
func connectionPassword(secret []byte) bool { return password(secret) && !lettersOnly(secret) }
