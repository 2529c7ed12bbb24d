using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .service)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const service :Workerd.Worker = (
  modules = [(name = "service.js", esModule = embed "out/workerd.js")],
  compatibilityDate = "2024-09-23",
  compatibilityFlags = ["nodejs_compat"],
);
