"""The settings of cache-service; each is read from the environment as CACHE_<NAME>."""

from __future__ import annotations

from pydantic import Field, RedisDsn, SecretStr, field_validator, model_validator

from service_kit.settings import ServiceSettings, settings_config


class CacheSettings(ServiceSettings):
    model_config = settings_config("CACHE_")

    port: int = Field(default=5001, ge=1, le=65535)
    max_entry_bytes: int = Field(
        default=4 << 20, ge=1, description="Larger entries get a 413; it bounds every request body"
    )
    default_ttl: int = Field(default=3600, ge=1, description="Seconds that an entry lives if its PUT names no time")
    max_ttl: int = Field(default=7 * 24 * 3600, ge=1, description="Seconds that a PUT may ask for at most")
    namespace: str = Field(
        default="llm-cache:",
        pattern=r"^[A-Za-z0-9._:-]{1,64}$",
        description="What the name of each of our keys in Redis begins with",
    )
    redis_url: RedisDsn = Field(
        default=RedisDsn("redis://redis:6379/0"), description="redis://[user@]host:port/database"
    )
    redis_password: SecretStr | None = Field(
        default=None, description="From the file /run/secrets/cache_redis_password"
    )
    redis_timeout: float = Field(
        default=0.5, gt=0, le=30, description="Seconds until a Redis that does not answer is a 503"
    )
    redis_connections: int = Field(default=16, ge=1, le=1000, description="Connections at most")

    @field_validator("redis_url")
    @classmethod
    def _no_password_in_the_url(cls, url: RedisDsn) -> RedisDsn:
        if url.password:
            raise ValueError("has a password in it; give it as the secret cache_redis_password")
        return url

    @model_validator(mode="after")
    def _default_within_maximum(self) -> CacheSettings:
        if self.default_ttl > self.max_ttl:
            raise ValueError(f"CACHE_DEFAULT_TTL ({self.default_ttl}) is over CACHE_MAX_TTL ({self.max_ttl})")
        return self
