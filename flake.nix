{
  description = "top for Kubernetes Services on one node";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package;
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          version = manifest.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # Tests want network namespaces and the node's own tools: CONTRIBUTING.md.
          doCheck = false;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          postInstall = ''
            $out/bin/kptop man man
            installManPage man/*
            installShellCompletion --cmd kptop \
              --bash <($out/bin/kptop completions bash) \
              --zsh <($out/bin/kptop completions zsh) \
              --fish <($out/bin/kptop completions fish)
            install -Dm755 -t $out/bin assets/kubectl-kptop assets/kubectl_complete-kptop
          '';
          meta = {
            description = manifest.description;
            homepage = manifest.homepage;
            license = pkgs.lib.licenses.asl20;
            mainProgram = "kptop";
            platforms = systems;
          };
        };
      });
      devShells = each (pkgs: {
        default = pkgs.mkShell { packages = [ pkgs.cargo pkgs.rustc pkgs.clippy pkgs.rustfmt ]; };
      });
    };
}
