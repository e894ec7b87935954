"""The documented API as it is built with Django REST Framework, to move in from and to compare with.

    service.py serve PORT   migrates and serves
    service.py fill         makes the users that standard input lists, and prints their ids and tokens
    service.py change       changes the users that standard input lists

DJANGO_DB is sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/NAME. DJANGO_USERS=integers uses Django's own table of
users, whose ids are integers; else ids are UUIDs.
"""

import json
import os
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings


def database():
    address = os.environ["DJANGO_DB"]
    if address.startswith("sqlite:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address[len("sqlite:"):]}
    url = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.path.strip("/"), "USER": url.username,
        "PASSWORD": url.password or "", "HOST": url.hostname, "PORT": url.port or 5432,
    }


integers = os.environ.get("DJANGO_USERS") == "integers"
settings.configure(
    SECRET_KEY="for tests", ALLOWED_HOSTS=["*"], USE_TZ=True, ROOT_URLCONF="service", DATABASES={"default": database()},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "rest_framework.authtoken"]
    + ([] if integers else ["accounts"]),
    AUTH_USER_MODEL="auth.User" if integers else "accounts.User",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    # The first is that of new passwords: quick, as there are thousands of them.
    PASSWORD_HASHERS=["django.contrib.auth.hashers." + name for name in (
        "UnsaltedMD5PasswordHasher", "PBKDF2PasswordHasher", "PBKDF2SHA1PasswordHasher", "Argon2PasswordHasher",
        "BCryptSHA256PasswordHasher", "BCryptPasswordHasher")],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
)
if __name__ == "__main__":
    sys.modules["service"] = sys.modules["__main__"]
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import generics, permissions, serializers  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.authtoken.views import obtain_auth_token  # noqa: E402

User = get_user_model()
PROFILE = ("id", "username", "first_name", "last_name", "email")


class Profile(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = PROFILE
        read_only_fields = ("username",)


class Registration(serializers.ModelSerializer):
    auth_token = serializers.CharField(source="auth_token.key", read_only=True)

    class Meta:
        model = User
        fields = PROFILE + ("password", "auth_token")
        extra_kwargs = {"password": {"write_only": True}}

    def create(self, fields):
        user = User.objects.create_user(**fields)
        Token.objects.create(user=user)
        return user


class OwnerChanges(permissions.BasePermission):
    def has_object_permission(self, request, view, user):
        return request.method in permissions.SAFE_METHODS or user == request.user


class Register(generics.CreateAPIView):
    serializer_class = Registration
    permission_classes = [permissions.AllowAny]


class Account(generics.RetrieveUpdateAPIView):
    queryset = User.objects.all()
    serializer_class = Profile
    permission_classes = [permissions.IsAuthenticated, OwnerChanges]


urlpatterns = [
    path("api/v1/users/", Register.as_view()),
    path("api/v1/users/<pk>/", Account.as_view()),
    path("api-token-auth/", obtain_auth_token),
]


def migrate():
    call_command("migrate", "auth", verbosity=0)  # whose groups the users refer to
    call_command("migrate", run_syncdb=True, verbosity=0)


def serve(port):
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass

    class Threaded(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    migrate()
    with make_server("127.0.0.1", port, get_wsgi_application(), Threaded, Quiet) as server:
        print("ready", server.server_port, flush=True)
        server.serve_forever()


def fill():
    """Each user has the fields of the model; password is encoded by hasher, or as it is where there is none."""
    migrate()
    made = {}
    for fields in json.load(sys.stdin):
        hasher, with_token = fields.pop("hasher", ""), fields.pop("token", False)
        if hasher:
            fields["password"] = make_password(fields["password"], hasher=hasher)
        user = User.objects.create(**fields)
        made[user.username] = {"id": str(user.pk), "token": Token.objects.create(user=user).key if with_token else ""}
    json.dump(made, sys.stdout)


def change():
    """Each user gets other fields; or is deleted, or loses the token, or gets another."""
    for asked in json.load(sys.stdin):
        user = User.objects.get(username=asked["username"])
        if asked.get("delete"):
            user.delete()
        elif asked.get("drop_token"):
            Token.objects.filter(user=user).delete()
        elif asked.get("new_token"):
            Token.objects.filter(user=user).delete()
            Token.objects.create(user=user)
        else:
            User.objects.filter(pk=user.pk).update(**asked["fields"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    elif sys.argv[1:] == ["fill"]:
        fill()
    elif sys.argv[1:] == ["change"]:
        change()
    else:
        sys.exit(__doc__)
