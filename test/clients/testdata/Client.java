import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URI;
import java.net.URLConnection;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

/** A client of both HTTP libraries of Java: Client (LIBRARY WAY NAME URL [BODY])…, each printed under its name. */
public class Client {
    public static void main(String[] args) throws Exception {
        for (int i = 0; i + 4 < args.length; i += 5) {
            System.out.println("== " + args[i + 2]);
            int code = 0;
            try {
                String way = args[i + 1];
                if (args[i].equals("connection")) {
                    connection(way, args[i + 3], args[i + 4]);
                } else {
                    client(args[i].equals("h2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1, way.equals("direct"), args[i + 3], args[i + 4]);
                }
            } catch (Exception e) {
                System.out.println(e);
                code = 1;
            }
            System.out.println("-- " + code);
        }
    }

    static boolean ours(String url) {
        return url.startsWith("https://api.example.com/");
    }

    static void client(HttpClient.Version version, boolean direct, String url, String body) throws Exception {
        HttpClient.Builder b = HttpClient.newBuilder().version(version).connectTimeout(Duration.ofSeconds(20));
        if (direct) {
            b.proxy(HttpClient.Builder.NO_PROXY);
        }
        HttpRequest.Builder r = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(20));
        if (ours(url)) {
            r.header("Authorization", "Bearer " + System.getenv("GH_TOKEN"));
        }
        if (!body.isEmpty()) {
            r.POST(HttpRequest.BodyPublishers.ofString(body));
        }
        HttpResponse<String> a = b.build().send(r.build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(a.statusCode() + " over " + a.version());
        System.out.println(a.body());
    }

    static void connection(String way, String url, String body) throws Exception {
        var u = URI.create(url).toURL();
        URLConnection opened = switch (way) {
            case "direct" -> u.openConnection(Proxy.NO_PROXY);
            case "socks" -> u.openConnection(new Proxy(Proxy.Type.SOCKS, new InetSocketAddress("127.0.0.1", 9099)));
            default -> u.openConnection();
        };
        HttpURLConnection c = (HttpURLConnection) opened;
        c.setConnectTimeout(20000);
        c.setReadTimeout(20000);
        if (ours(url)) {
            c.setRequestProperty("Authorization", "Bearer " + System.getenv("GH_TOKEN"));
        }
        if (!body.isEmpty()) {
            c.setDoOutput(true);
            c.getOutputStream().write(body.getBytes());
        }
        System.out.println(c.getResponseCode() + " over HTTP_1_1");
        try (InputStream in = c.getInputStream()) {
            System.out.println(new String(in.readAllBytes()));
        }
    }
}
